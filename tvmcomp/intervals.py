"""How sure a figure is that was measured on some samples: intervals of 95% confidence.

A share of samples gets Wilson's interval, which holds for few samples and for shares near 0 and 1
(Wilson, JASA 22, 1927); the difference of two shares of the same samples Newcombe's, which is made
of the two and of how far they go together (Statistics in Medicine 17, 1998, 2635, method 10). What
is no share is drawn again from the samples (Efron's bootstrap, percentiles).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

#: Of a normal distribution, 95% lies within so many standard deviations.
_Z = 1.959963984540054
_DRAWS = 2000

Interval = tuple[float, float]


def wilson(share: float, count: int) -> Interval:
    """The interval of a share, 0 to 1, of ``count`` samples."""
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    middle = share + _Z**2 / (2 * count)
    scale = 1 + _Z**2 / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def paired_difference(first: np.ndarray, second: np.ndarray) -> Interval:
    """The interval of the share of ``first`` minus that of ``second``.

    Args:
        first, second: ``(N,)`` bool, of the same samples.
    """
    count = len(first)
    both, neither = int(np.sum(first & second)), int(np.sum(~first & ~second))
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(~first & second))
    shares = float(np.mean(first)), float(np.mean(second))
    (low1, high1), (low2, high2) = (wilson(share, count) for share in shares)
    product = (
        (both + only_first)
        * (only_second + neither)
        * (both + only_second)
        * (only_first + neither)
    )
    together = 0.0
    if product:
        covariance = float(both * neither - only_first * only_second)
        if covariance > 0:  # the continuity correction of the paper
            covariance = max(covariance - count / 2, 0.0)
        together = covariance / math.sqrt(product)
    difference = shares[0] - shares[1]
    below = _joined(shares[0] - low1, high2 - shares[1], together)
    above = _joined(high1 - shares[0], shares[1] - low2, together)
    return difference - below, difference + above


def _joined(one: float, other: float, together: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * together * one * other + other**2))


def bootstrap(values: np.ndarray, figure: Callable[[np.ndarray], float], seed: int = 0) -> Interval:
    """The interval of ``figure`` of ``values``.

    Args:
        values: a row a sample.
        figure: of some rows.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    draws = [figure(values[rng.integers(0, len(values), len(values))]) for _ in range(_DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)
