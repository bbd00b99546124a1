"""How sparsity rises over the steps of a training.

Zhu and Gupta, "To Prune, or Not to Prune" (arXiv:1710.01878), as TensorFlow's Model Optimization
toolkit has it (``PolynomialDecay``):

    s(t) = final + (start - final) * (1 - (t - begin) / (end - begin))^power
"""

from __future__ import annotations

from dataclasses import dataclass


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
        done = (step - self.begin) / max(self.end - self.begin, 1)
        left = 1 - min(1.0, max(0.0, done))
        return self.final + (self.start - self.final) * float(left**self.power)

    def is_update(self, step: int) -> bool:
        """Whether the masks are chosen anew before ``step``."""
        return self.begin <= step <= self.end and (step - self.begin) % self.frequency == 0
