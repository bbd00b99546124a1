"""Which format each segment takes, by what it takes in either.

The rules:

1. A segment that has nothing to compute in the asked format (the guard keeps it in float, or no
   form is there) is in the other one, whatever it takes.
2. All others are chosen at once: the least sum of their own times and of what it takes to change
   the format of a tensor between two segments of unlike formats.
3. A mixture is worth building where it should be faster than both whole networks by more than the
   times are exact.
4. Of networks timed in turns the asked one is taken, unless others are faster beyond doubt: then
   the fastest.
5. Of times by a model the asked one is taken, unless it is slower by more than models are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvmcomp.formats.cut import cheapest
from tvmcomp.tuning.judge import speedup, wins

#: How much faster a mixture must be by the sum of times that were measured one by one, and by a
#: model.
_EXACT, _MODELLED = 1.02, 1.3


@dataclass(frozen=True)
class FormatCosts:
    """Seconds of an inference.

    Attributes:
        asked, other: of each segment in the asked format and in the other.
        borders: of two segments, what it takes that their formats differ.
        fixed: segments that are never in the asked format.
    """

    asked: tuple[float, ...]
    other: tuple[float, ...]
    borders: Mapping[tuple[int, int], float]
    fixed: frozenset[int] = frozenset()

    def seconds(self, moved: frozenset[int]) -> float:
        """Of the network with ``moved``, and what is fixed, in the other format."""
        away = moved | self.fixed
        own = (self.other[i] if i in away else cost for i, cost in enumerate(self.asked))
        changes = (c for (i, j), c in self.borders.items() if (i in away) != (j in away))
        return sum(own) + sum(changes)

    @property
    def all(self) -> frozenset[int]:
        """The segments that can be in either format."""
        return frozenset(range(len(self.asked))) - self.fixed


def cheapest_mixture(costs: FormatCosts) -> frozenset[int]:
    """The segments that should be in the other format: rules 1 and 2."""
    nodes = [
        (float("inf") if i in costs.fixed else asked, other)
        for i, (asked, other) in enumerate(zip(costs.asked, costs.other, strict=True))
    ]
    chosen = cheapest(nodes, costs.borders)
    return frozenset(i for i, away in enumerate(chosen) if away) - costs.fixed


def worth_building(costs: FormatCosts, moved: frozenset[int]) -> bool:
    """Whether the mixture with ``moved`` in the other format is to be built and timed: rule 3."""
    whole = min(costs.seconds(frozenset()), costs.seconds(costs.all))
    return moved not in (frozenset(), costs.all) and costs.seconds(moved) * _EXACT < whole


def fastest(run_secs: Sequence[Sequence[float]]) -> int:
    """Which of several networks is taken, the asked one first among them: rule 4."""
    asked, *others = run_secs
    faster = {i: speedup(o, asked) for i, o in enumerate(others, 1) if wins(o, asked)}
    return max(faster, key=lambda i: faster[i], default=0)


def cheapest_by_model(costs: FormatCosts) -> frozenset[int]:
    """The segments that are in the other format by a model: rules 1, 2 and 5."""
    moved = cheapest_mixture(costs)
    return moved if costs.seconds(moved) * _MODELLED < costs.seconds(frozenset()) else frozenset()
