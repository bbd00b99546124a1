"""Channels as classes of positions: two positions of one class stay or go together.

An axis of a tensor is an array with a class for each of its positions, or None where it is no axis
of channels (samples, pixels, time): such an axis stays as it is.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

#: For each position its class; None: all positions stay.
Axis: TypeAlias = NDArray[np.int64] | None


class Classes:
    """A partition of positions that only grows coarser (union-find)."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        #: Root -> why its positions stay.
        self._reasons: dict[int, str] = {}

    def fresh(self, size: int) -> NDArray[np.int64]:
        """An axis whose positions are tied to nothing."""
        start = len(self._parents)
        self._parents.extend(range(start, start + size))
        return np.arange(start, start + size)

    def pinned(self, size: int, reason: str) -> NDArray[np.int64]:
        """An axis whose positions stay."""
        axis = self.fresh(size)
        self.pin(axis, reason)
        return axis

    def unify(self, first: Axis, second: Axis, reason: str) -> Axis:
        """Tie two axes position by position; gives either of them.

        Args:
            first, second: of equal length. Where one is None, the other stays as a whole.
            reason: why, where that happens.
        """
        if first is None or second is None:
            self.pin(first, reason)
            self.pin(second, reason)
            return None
        for one, other in zip(self.roots(first), self.roots(second), strict=True):
            self._join(int(one), int(other))
        return first

    def pin(self, axis: Axis, reason: str) -> None:
        """Let all positions of an axis stay; the first reason counts."""
        if axis is not None:
            for root in np.unique(self.roots(axis)):
                self._reasons.setdefault(int(root), reason)

    def tie(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tie the rows of a matrix of positions column by column; gives the first row."""
        for row in rows[1:]:
            self.unify(rows[0], row, "")
        first: NDArray[np.int64] = rows[0]
        return first

    def roots(self, axis: NDArray[np.int64]) -> NDArray[np.int64]:
        """The class of each position, equal for what is tied."""
        return np.array([self._find(int(each)) for each in axis], np.int64)

    def reason(self, root: int) -> str | None:
        """Why a class stays; None where it may go."""
        return self._reasons.get(self._find(root))

    def distinct(self, axis: NDArray[np.int64]) -> int:
        """How many classes the positions of an axis are of."""
        return len(set(self.roots(axis).tolist()))

    def _find(self, position: int) -> int:
        parents = self._parents
        root = position
        while parents[root] != root:
            root = parents[root]
        while parents[position] != root:
            parents[position], position = root, parents[position]
        return root

    def _join(self, first: int, second: int) -> None:
        first, second = self._find(first), self._find(second)
        if first == second:
            return
        low, high = sorted((first, second))  # the order of joining must not matter
        self._parents[high] = low
        reasons = [r for r in (self._reasons.get(first), self._reasons.pop(high, None)) if r]
        if reasons:
            self._reasons.setdefault(low, reasons[0])
