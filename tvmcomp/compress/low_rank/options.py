"""How a network's weights are factored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tvmcomp.compress.fake_quantize.patterns import matches


@dataclass(frozen=True)
class LowRankSettings:
    """What decides which operators are factored, and their ranks.

    A pattern is a node's name, its ONNX operator or a glob of either; of several the last counts.

    Attributes:
        drop: points that may be lost on the watched samples.
        faster: how many times as fast the network is to be; with it ``drop`` does not count.
        ranks: pattern -> rank of the operators that it matches, be they faster or not.
        kept: patterns of what stays as it is.
        only: what has no rank given stays, too.
    """

    drop: float
    faster: float | None = None
    ranks: Mapping[str, int] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    only: bool = False

    def rank(self, name: str, kind: str) -> int | None:
        """The rank that is given for a node; None where none is."""
        found = [rank for pattern, rank in self.ranks.items() if matches(pattern, name, kind)]
        return found[-1] if found else None

    def keeps(self, name: str, kind: str) -> bool:
        """Whether a node is to stay."""
        if self.only and self.rank(name, kind) is None:
            return True
        return any(matches(pattern, name, kind) for pattern in self.kept)
