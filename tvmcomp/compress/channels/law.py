"""What some operators cost, whichever width their groups have: from a few widths of them.

    cost = a + b (multiply-accumulates) + c (elements that are read) + d (elements that are given)

with factors that are not below 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tvmcomp.compress.channels.units import Sizes, Unit
from tvmcomp.compress.cost.arithmetic import node_multiply_adds
from tvmcomp.compress.fake_quantize.graph import Graph


class Law:
    """The cost of a unit, of any shares of its groups."""

    def __init__(
        self,
        unit: Unit,
        sizes: Sizes,
        graph: Graph,
        points: Sequence[Mapping[int, float]],
        costs: Sequence[float],
    ) -> None:
        """Args:
        unit: the unit.
        sizes: of its tensors.
        graph: that it is of.
        points: shares of its groups, whole vectors of all first.
        costs: that were measured there.
        """
        self._sizes = sizes
        self._nodes = [node for node in graph.nodes if node.name in unit.nodes]
        made = {name for node in self._nodes for name in node.output}
        self._given = sorted(
            name
            for name in made
            if any(
                each is None or each.name not in unit.nodes for each in graph.readers.get(name, ())
            )
        )
        self._read = sorted({n for node in self._nodes for n in node.input if n and n not in made})
        #: Group -> what more it costs while all its channels fill no whole vectors.
        self._ragged: dict[int, float] = {}
        terms, wanted = [], []
        for shares, cost in zip(points, costs, strict=True):
            over = [g for g, share in shares.items() if share > 1]
            if over:
                self._ragged[over[0]] = cost - costs[0]
            else:
                terms.append(self._terms(shares))
                wanted.append(cost)
        self._factors = not_negative(np.array(terms), np.array(wanted))
        self._known: dict[tuple[float, ...], float] = {}
        self._groups = unit.groups

    def cost(self, shares: Mapping[int, float]) -> float:
        """With these shares of its groups."""
        key = tuple(shares[g] for g in self._groups)
        if key not in self._known:
            whole = {g: min(shares[g], 1.0) for g in self._groups}
            more = sum(each for g, each in self._ragged.items() if shares[g] > 1)
            self._known[key] = float(np.dot(self._factors, self._terms(whole))) + more
        return self._known[key]

    def _terms(self, shares: Mapping[int, float]) -> list[float]:
        def shape(tensor: str) -> list[float]:
            return self._sizes.shape(tensor, shares)

        work = sum(node_multiply_adds(node, shape) for node in self._nodes)
        moved = [
            sum(math.prod(shape(name)) for name in names) for names in (self._read, self._given)
        ]
        return [1.0, work, *moved]


def not_negative(terms: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares with no factor below 0 (Lawson and Hanson, 1974): of few terms, by trying
    which of them are 0, the first ones first."""
    count = terms.shape[1]
    scale = np.maximum(np.abs(terms).max(0), 1e-30)
    terms = terms / scale
    allowed = 1e-9 * float(np.sum(wanted**2))
    best, least = np.zeros(count), float("inf")
    for mask in range(1, 2**count):
        used = [i for i in range(count) if mask >> i & 1]
        found, *_ = np.linalg.lstsq(terms[:, used], wanted, rcond=None)
        error = float(np.sum((terms[:, used] @ found - wanted) ** 2))
        if (found >= 0).all() and error < least - allowed:
            best, least = np.zeros(count), error
            best[used] = found
    return best / scale
