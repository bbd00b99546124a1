"""What a whole network's file and memory are, from its units' weights, by those that were measured.

    bytes = a + b (float weights) + c (rounded weights)          with factors not below 0

The factors are fitted by least squares of relative errors, held near 1 as long as few networks were
measured: what is beside the weights, code above all, is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tvmcomp.search.tables import Choice, Config

#: How much it counts that factors are 1, beside one measured network.
_HELD = 0.1


@dataclass(frozen=True)
class Correction:
    """Sums over units to what a network has.

    Attributes:
        constant: what it has beside its units.
        of_float, of_int8: a unit's figure times this.
    """

    constant: float = 0.0
    of_float: float = 1.0
    of_int8: float = 1.0

    def cost(self, figure: Callable[[Config], float]) -> Callable[[Config], float]:
        """A config's corrected figure."""

        def corrected(config: Config) -> float:
            factor = self.of_int8 if config.format.compute == "int8" else self.of_float
            return factor * figure(config)

        return corrected

    def whole(self, choice: Choice, figure: Callable[[Config], float]) -> float:
        """What a network of this choice has."""
        return self.constant + choice.total(self.cost(figure))


def fitted(
    measured: Sequence[tuple[Choice, float]], figure: Callable[[Config], float]
) -> Correction:
    """The correction that fits networks that were measured; none changes nothing."""
    if not measured:
        return Correction()
    from scipy.optimize import nnls

    sums = [
        [
            choice.total(lambda c: figure(c) if c.format.compute != "int8" else 0.0),
            choice.total(lambda c: figure(c) if c.format.compute == "int8" else 0.0),
        ]
        for choice, _ in measured
    ]
    whole = [found for _, found in measured]
    least = min(whole)  # the unit of the constant, so that it is about 1, too
    rows = [[least / w, *(part / w for part in each)]
            for w, each in zip(whole, sums, strict=True)]  # fmt: skip
    matrix = np.vstack([rows, _HELD * np.eye(3)[1:]])
    factors, _ = nnls(matrix, np.array([*([1.0] * len(rows)), _HELD, _HELD]))
    return Correction(float(factors[0] * least), float(factors[1]), float(factors[2]))
