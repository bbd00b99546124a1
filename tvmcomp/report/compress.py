"""The proof of a compression for a person: before and after, what each step cost and gained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

from tvmcomp.fitted import Column, fitted_table, printable
from tvmcomp.report import texts

if TYPE_CHECKING:
    from tvmcomp.compress.proof import Built, Proof
    from tvmcomp.compress.score import Score
    from tvmcomp.compress.technique import Suggestion

_CONFIDENCE = "95% confidence"

Row = tuple[str, str, str, str]


def compress_report(proof: Proof) -> dict[str, Any]:
    """Everything that the report shows, as JSON-ready values."""
    document: dict[str, Any] = msgspec.to_builtins(proof)
    return document


def print_proof(proof: Proof, console: Console) -> None:
    """Print the tables, the notes, and whether the network was written."""
    columns = [Column("", "sentence"), Column("before", "number")]
    columns += [Column("after", "number"), Column("change", "sentence", rank=1)]
    console.print(fitted_table(columns, list(_rows(proof)), console)[0])
    _print_steps(proof, console)
    counts = proof.samples
    console.print(
        f"judged on {counts['judge']} samples ({proof.judged_on}); fitted on {counts['fit']}, "
        f"watched on {counts['watch']}",
        soft_wrap=True,
        markup=False,
    )
    if proof.resumed:
        _note("it went on from a run that was stopped", console)
    for step in proof.steps:
        for note in step.notes:
            _note(f"{step.technique}: {note}", console)
    for note in (*proof.notes, *_problems(proof)):
        _note(note, console)
    if not proof.accepted:
        console.print(
            f"the original is kept: {_points(proof.score.drop)} lost, {proof.max_drop:g} allowed "
            "(--max-drop)",
            soft_wrap=True,
        )
    elif proof.output is not None:
        console.print(f"wrote {proof.output}", soft_wrap=True, markup=False)


def _rows(proof: Proof) -> Iterator[Row]:
    yield _score_row(proof.score)
    before, after = proof.before, proof.after
    yield _size_row("ONNX file", before.onnx_bytes, after.onnx_bytes)
    for title, was, became in (
        ("parameters", before.parameters, after.parameters),
        ("multiply-accumulates", before.macs, after.macs),
    ):
        yield title, _count(was), _count(became), texts.ratio(was, became)
    for kind in ("float", "int8"):
        if kind in before.builds or kind in after.builds:
            yield from _build_rows(kind, before.builds, after.builds, proof.score)


def _build_rows(
    kind: str, before: Mapping[str, Built], after: Mapping[str, Built], score: Score
) -> Iterator[Row]:
    """Of one kind of builds. A network that is quantized has no float one: what it is beside the
    original in float stands with its int8."""
    was, became = before.get(kind), after.get(kind)
    float_was = before.get("float") if kind == "int8" and "float" not in after else None

    def row(title: str, name: str, shown: Callable[[Any], str]) -> Row:
        values = [getattr(each, name, None) for each in (was, became, float_was)]
        change = texts.ratio(values[0], values[1])
        beside = texts.ratio(values[2], values[1])
        if beside:
            change += f", beside float {beside}" if change else beside
        return f"{kind}: {title}", shown(values[0]), shown(values[1]), change

    if getattr(was, "score", None) is not None or getattr(became, "score", None) is not None:
        scores = [texts.score(getattr(each, "score", None), score.unit) for each in (was, became)]
        yield f"{kind}: {score.metric} as built", scores[0], scores[1], ""
    yield row("artifact", "artifact_bytes", texts.size)
    yield row("weights in it", "constants_bytes", texts.size)
    yield row("p50 latency", "p50_ms", texts.ms)
    yield row("p99 latency", "p99_ms", texts.ms)
    yield row("peak memory", "peak_memory_mib", texts.mib)


def _score_row(score: Score) -> Row:
    title = f"{score.metric} of {score.output}"
    if score.before is None:
        title += " with the original"
    ends = f"{_number(score.after_low)} to {_number(score.after_high)}"
    change = f"{_points(-score.drop, signed=True)}, {_CONFIDENCE} {_range(score)}"
    if score.before is None and score.metric != "agreement":
        change = f"{ends}, {_CONFIDENCE}"
    before = texts.NONE if score.before is None else texts.score(score.before, score.unit)
    return title, before, texts.score(score.after, score.unit), change


def _range(score: Score) -> str:
    return f"{-score.drop_high:+.2f} to {-score.drop_low:+.2f}"


def _print_steps(proof: Proof, console: Console) -> None:
    columns = [Column("step"), Column("time", "number"), Column("ONNX file", "number")]
    columns += [Column("lost", "number"), Column("SQNR dB", "number", rank=1)]
    rows = [
        (
            step.technique,
            _seconds(step.seconds),
            f"{texts.size(step.bytes_before)} → {texts.size(step.bytes_after)}",
            f"{_number(step.drop_before)} → {_points(step.drop_after)}",
            f"{step.sqnr_db_before:.1f} → {step.sqnr_db_after:.1f}",
        )
        for step in proof.steps
    ]
    console.print(fitted_table(columns, rows, console)[0])
    metric = proof.steps[0].metric if proof.steps else ""
    console.print(f"of each step: what is lost by {metric} with the original, on watched samples")


def _problems(proof: Proof) -> Iterator[str]:
    for name, side in (("before", proof.before), ("after", proof.after)):
        for kind, built in side.builds.items():
            if built.problem:
                yield f"{kind} {name}, not measured: {built.problem}"


def _note(text: str, console: Console) -> None:
    console.print(f"note: {printable(text)}", soft_wrap=True, markup=False)


def _size_row(title: str, was: int | None, became: int | None) -> Row:
    return title, texts.size(was), texts.size(became), texts.ratio(was, became)


def _count(count: int | None) -> str:
    return texts.NONE if count is None else f"{count:,}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _points(value: float, *, signed: bool = False) -> str:
    rounded = round(value, 2) + 0.0  # no -0.00
    return f"{rounded:+.2f} points" if signed else f"{rounded:.2f} points"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def print_suggestions(suggestions: Iterable[Suggestion], console: Console) -> None:
    """Print what could be tried with a network, and why."""
    found = list(suggestions)
    if not found:
        console.print("there is nothing that would make this network smaller")
        return
    console.print("nothing was asked for, and nothing done. What could be tried:")
    for each in found:
        console.print(f"  {each.options}: {printable(each.why)}", soft_wrap=True, markup=False)
