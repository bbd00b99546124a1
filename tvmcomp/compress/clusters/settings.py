"""How many values the weights of a network take."""

from __future__ import annotations

from dataclasses import dataclass, field

from tvmcomp.compress.fake_quantize.patterns import matches


@dataclass(frozen=True)
class ClusterSettings:
    """How many values weights take.

    Attributes:
        count: of each weight.
        counts: pattern (a node's name, its operator or a glob of either) -> another number for
            those that it matches, 0 for none; of several the last counts.
    """

    count: int
    counts: dict[str, int] = field(default_factory=dict)

    def of(self, node: str, kind: str) -> int:
        """The number of values of an operator's weights; 0 where they stay."""
        found = [count for pattern, count in self.counts.items() if matches(pattern, node, kind)]
        return found[-1] if found else self.count

    def gives(self, node: str, kind: str) -> bool:
        """Whether a pattern says the number for an operator."""
        return any(matches(pattern, node, kind) for pattern in self.counts)
