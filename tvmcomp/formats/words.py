"""What is said of formats that were chosen: in the report's lines, in its notes, in its JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tvmcomp.formats.choose import FormatCosts
from tvmcomp.formats.segments import Segments
from tvmcomp.targets import TargetDescription


@dataclass(frozen=True)
class Figures:
    """What decided.

    Attributes:
        chosen: ``int8``, ``float32``, ``mixed`` or ``bfloat16``.
        seconds: of an inference of each whole network that was timed; empty with a model.
        costs: of the segments: seconds, or a model's cycles.
        device: the CPU that the times are of; "" with a model.
        date: when they were taken; "" with a model.
    """

    chosen: str
    seconds: Mapping[str, float]
    costs: FormatCosts
    device: str = ""
    date: str = ""

    @property
    def other(self) -> str:
        """The format of what is not in int8."""
        return "bfloat16" if self.chosen == "bfloat16" else "float32"

    def document(self, parts: Segments, moved: Collection[int]) -> dict[str, Any]:
        """All of it for the artifact's metadata; a segment goes by its first operator's name."""
        unit = "ms" if self.seconds else "cycles"
        scale = 1e3 if self.seconds else 1.0
        return {
            "by": "clock" if self.seconds else "model",
            "chosen": self.chosen,
            "device": self.device,
            "date": self.date,
            "ms": {name: _short(1e3 * seconds) for name, seconds in self.seconds.items()},
            "operators": {
                names[0]: {
                    "chosen": self.other if i in moved else "int8",
                    f"int8_{unit}": _short(scale * self.costs.asked[i]),
                    f"float32_{unit}": _short(scale * self.costs.other[i]),
                }
                for i, names in enumerate(parts.operators)
                if i not in self.costs.fixed
            },
        }


def reasons_of(parts: Segments, moved: Collection[int], figures: Figures) -> dict[str, str]:
    """Why the operators of the segments ``moved`` are not in int8."""
    return {
        name: reason
        for i in moved
        for reason in [_reason(figures, i)]
        for name in parts.operators[i]
    }


def note_of(
    parts: Segments, moved: Collection[int], figures: Figures, target: TargetDescription
) -> str:
    """The choice in a sentence."""
    anchors = [i for i, name in enumerate(parts.anchors) if name and i not in figures.costs.fixed]
    away = sum(i in moved for i in anchors)
    counts = f"{len(anchors) - away} operators with weights in int8, {away} in {figures.other}"
    if not figures.seconds:
        return f"formats by a model of {target.name}, nothing was measured: {counts}"
    times = ", ".join(f"{name} {1e3 * s:.3g} ms" for name, s in sorted(figures.seconds.items()))
    where = f"in turns on {figures.device}, {figures.date[:10]}"
    return f"formats by the clock: {counts}; the whole network: {times} ({where})"


def _reason(figures: Figures, segment: int) -> str:
    if figures.chosen == "bfloat16":
        return "faster in bfloat16, the network as a whole"
    asked, other = figures.costs.asked[segment], figures.costs.other[segment]
    if figures.seconds:
        told = f"{1e3 * other:.3g} ms, {1e3 * asked:.3g} in int8"
    else:
        told = f"{other:.3g} cycles by a model, {asked:.3g} in int8"
    if other < asked:
        return f"faster in float32: {told}"
    return f"faster in float32 with its neighbours; alone {told}"


def _short(number: float) -> float:
    return float(f"{number:.4g}")
