"""How sparsity rises over the steps of a training.

Zhu and Gupta, "To Prune, or Not to Prune" (arXiv:1710.01878), as TensorFlow's Model Optimization
toolkit has it (``PolynomialDecay``):

    s(t) = final + (start - final) * (1 - (t - begin) / (end - begin))^power

in float32, as there: how many weights are kept is rounded, and a half must fall to the same side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PolynomialDecay:
    """A rise of sparsity.

    Attributes:
        start, final: sparsity at ``begin`` and from ``end`` on.
        begin, end: steps.
        frequency: steps from one update of the masks to the next.
        power: of the polynomial; 1 rises evenly, 3 first fast and then slowly.
    """

    start: float
    final: float
    begin: int
    end: int
    frequency: int = 100
    power: float = 3.0

    def sparsity(self, step: int) -> float:
        """The share of weights that is to be zero at ``step``."""
        one = np.float32(1)
        done = np.float32(step - self.begin) / np.float32(max(self.end - self.begin, 1))
        left = one - np.clip(done, np.float32(0), one)
        rising = np.float32(self.start - self.final) * left ** np.float32(self.power)
        return float(rising + np.float32(self.final))

    def is_update(self, step: int) -> bool:
        """Whether the masks are chosen anew before ``step``."""
        return self.begin <= step <= self.end and (step - self.begin) % self.frequency == 0
