"""What a whole network's file and memory are, from its units' weights, by those that were measured.

    bytes = a + b (float weights) + c (rounded weights)          with factors not below 0

The factors are fitted by least squares of relative errors, held near one common ratio as long as
few networks were measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from tvmcomp.search.tables import Choice, Config

#: How much the common ratio counts, beside one measured network.
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
    ratio = median(w / max(sum(each), 1e-12) for w, each in zip(whole, sums, strict=True))
    # In these units both factors are about 1, and the constant is below 1.
    least = min(whole)
    rows = [[least / w, *(ratio * part / w for part in each)]
            for w, each in zip(whole, sums, strict=True)]  # fmt: skip
    matrix = np.vstack([rows, _HELD * np.eye(3)])
    factors, _ = nnls(matrix, np.array([*([1.0] * len(rows)), 0.0, _HELD, _HELD]))
    return Correction(
        float(factors[0] * least), float(factors[1] * ratio), float(factors[2] * ratio)
    )
