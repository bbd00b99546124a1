"""How much harm may be allowed: the harm in the tables is of each choice alone, before anything is
mended, and no points lost; whole networks tell what is."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: The harm that is allowed first, how far it goes until both sides are known, and when a bisection
#: is fine enough.
_FIRST, _STRIDE, _FINE = 0.03, 5.0, 1.4
_LEAST, _MOST = 1e-5, 3.0


@dataclass
class Bisection:
    """How much harm may be allowed, for one aim and tolerance.

    Attributes:
        aim: what is to be little.
        tolerance: points that may be lost.
        held, broken: the most harm that was held to, and the least that was not.
    """

    aim: str
    tolerance: float
    held: float | None = None
    broken: float | None = None

    @property
    def next(self) -> float | None:
        """The harm to allow next; None where it is known."""
        if self.held is None and self.broken is None:
            return _FIRST
        if self.broken is None:
            assert self.held is not None
            return self.held * _STRIDE if self.held < _MOST else None
        if self.held is None:
            return self.broken / _STRIDE if self.broken > _LEAST else None
        fine = self.broken / self.held < _FINE
        return None if fine else math.sqrt(self.held * self.broken)

    def learn(self, harm: float, drop: float) -> None:
        """What a network with so much harm lost."""
        if drop <= self.tolerance:
            self.held = max(harm, self.held or 0.0)
        else:
            self.broken = min(harm, self.broken or math.inf)
        if self.held and self.broken and self.held >= self.broken:
            self.broken = None  # chance: less was lost with more
