"""What was found: measured networks, those that no other beats, and which of them is the best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tvmcomp.compress.score import Score
from tvmcomp.search.candidate import Candidate
from tvmcomp.search.goals import Figures, Goals

#: Latencies that differ by less, as a share, are no reason to prefer a network.
_SAME_TIME = 0.02


class Predicted(msgspec.Struct, frozen=True):
    """What the tables say of a network before it is built."""

    p50_ms: float
    file_bytes: float


class Point(msgspec.Struct, frozen=True):
    """A network that was built and measured.

    Attributes:
        id, name, origin, recipe, quant, distilled: of its candidate.
        onnx, artifact: its files, within the search's folder.
        predicted: what the tables said; None where it is not of them.
        p50_ms, p99_ms: latency on the device.
        file_bytes: of the artifact.
        peak_memory_bytes: of the process that ran it; None: unknown.
        chosen_by: score on samples that choices use.
        noise: at its outputs, over their variance, on watched samples.
        judged: score on samples that no choice used; None where it is not of the best.
        commands: make it again.
        on_front: no other loses less, is faster and smaller.
    """

    id: str
    name: str
    origin: str
    recipe: tuple[dict[str, Any], ...]
    quant: str | None
    distilled: bool
    onnx: str
    artifact: str
    predicted: Predicted | None
    p50_ms: float
    p99_ms: float
    file_bytes: int
    peak_memory_bytes: int | None
    chosen_by: Score
    noise: float
    judged: Score | None = None
    commands: tuple[str, ...] = ()
    on_front: bool = False

    @property
    def candidate(self) -> Candidate:
        """What was measured."""
        return Candidate(self.name, self.origin, self.recipe, self.quant, self.distilled)

    @property
    def figures(self) -> Figures:
        """What goals speak of, as choices may know it."""
        return Figures(self.chosen_by.drop, self.p50_ms, self.file_bytes, self.peak_memory_bytes)

    @property
    def judged_figures(self) -> Figures:
        """The same, with the loss that was judged where it was."""
        lost = self.judged or self.chosen_by
        return msgspec.structs.replace(self.figures, drop=lost.drop)


def with_front(points: Sequence[Point]) -> list[Point]:
    """``points`` with those marked that no other beats in loss, latency, size and memory."""
    return [
        msgspec.structs.replace(
            point, on_front=not any(_beats(other, point) for other in points if other is not point)
        )
        for point in points
    ]


def _beats(one: Point, other: Point) -> bool:
    """Whether ``one`` is nowhere worse and somewhere better."""
    pairs = list(zip(_terms(one), _terms(other), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _terms(point: Point) -> tuple[float, ...]:
    return point.chosen_by.drop, point.p50_ms, point.file_bytes


def preferred(points: Iterable[Point], goals: Goals) -> list[Point]:
    """Best first: what misses the goals by least; of those that reach them, the fastest where loss
    is bounded, else the one that loses least."""

    def order(point: Point) -> tuple[float, ...]:
        missed = sum(goals.misses(point.figures).values())
        lost = (point.chosen_by.drop, point.noise)
        fast = (round(math.log(max(point.p50_ms, 1e-9)) / _SAME_TIME), point.file_bytes)
        if goals.max_drop is not None or not goals.any:
            return (missed, *fast, *lost)
        return (missed, *lost, *fast)

    return sorted(points, key=order)
