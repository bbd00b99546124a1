"""The end of a search for a person: the front, and the best or what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tvmcomp.fitted import Column, fitted_table, printable

if TYPE_CHECKING:
    from tvmcomp.search.outcome import Front
    from tvmcomp.search.points import Point


def print_front(front: Front, folder: Path, console: Console) -> None:
    """Print the front, the notes, and the best or what stands in the way."""
    shown = [
        p for p in front.points if p.on_front or p.id in (front.best, front.nearest, front.original)
    ]
    columns = [
        Column("network", "sentence"),
        Column("lost", "number"),
        Column("95% confidence", "number", rank=2),
    ]
    columns += [Column(n, "number") for n in ("p50", "p99", "file")]
    columns += [Column("memory", "number", rank=1)]
    rows = [_row(p, front) for p in sorted(shown, key=lambda p: p.p50_ms)]
    console.print(fitted_table(columns, rows, console)[0])
    counts = front.samples
    _say(
        f"{front.metric}: chosen on {counts['choose']} samples, judged on {counts['judge']} others "
        f"({front.judged_on}); fitted on {counts['fit']}, watched on {counts['watch']}",
        console,
    )
    _say(
        f"{len(front.points)} networks on {front.machine}, in {minutes(front.spent_seconds)}",
        console,
    )
    for note in front.notes:
        _say(f"note: {note}", console)
    for line in _end(front, folder):
        _say(line, console)


def _end(front: Front, folder: Path) -> Iterator[str]:
    best, nearest = front.point(front.best), front.point(front.nearest)
    if best is not None:
        yield f"best: {best.name}; wrote {folder / 'best.tvmc'} and {folder / 'best.onnx'}"
    if front.reached is False:
        yield "the goals were not reached"
        if front.in_the_way:
            yield f"nearest: {front.in_the_way}"
        if nearest is not None:
            yield f"its artifact: {folder / nearest.artifact}"


def _row(point: Point, front: Front) -> tuple[str, ...]:
    marks = {front.best: " (best)", front.nearest: " (nearest)"}
    lost = point.judged
    memory = point.peak_memory_bytes
    return (
        point.name + marks.get(point.id, ""),
        f"{(lost or point.chosen_by).drop:.2f}" + ("" if lost else " not judged"),
        f"{lost.drop_low:.2f} to {lost.drop_high:.2f}" if lost else "",
        f"{point.p50_ms:.4g} ms",
        f"{point.p99_ms:.4g} ms",
        _bytes(point.file_bytes),
        "unknown" if memory is None else _bytes(memory),
    )


def figures(drop: float, ms: float, size: float) -> str:
    """What a network loses and takes."""
    return f"{drop:.2f} points lost, {ms:.4g} ms, {_bytes(size)}"


def _bytes(count: float) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} KB"


def minutes(seconds: float) -> str:
    """A time that nobody wants exactly."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _say(text: str, console: Console) -> None:
    console.print(printable(text), soft_wrap=True, markup=False)
