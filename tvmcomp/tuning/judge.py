"""Is one kernel faster than another? From times that were taken in turns.

Each round measures every kernel once, so a machine that slows down slows all of them: what counts
is the ratio within a round, and its median over the rounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np

#: A speedup below this is not worth a record: it is about what a quiet machine's noise comes to.
LEAST_SPEEDUP = 1.01
#: Standard deviations that chance stays below in 49 of 50 cases.
_DEVIATIONS = 2.05
#: A measurement is unsteady where a quarter of its ratios are off the median by more than this.
_UNSTEADY = 0.1


def speedup(run_secs: Sequence[float], baseline_secs: Sequence[float]) -> float:
    """How many times as fast as the baseline: the median over the rounds."""
    return median(_ratios(run_secs, baseline_secs))


def wins(run_secs: Sequence[float], baseline_secs: Sequence[float]) -> bool:
    """Whether a kernel is faster than the baseline beyond doubt.

    Its median speedup has to be worth it, and so many rounds have to show one as chance would in
    one case of fifty (the sign test, by the normal approximation).
    """
    ratios = _ratios(run_secs, baseline_secs)
    won = sum(ratio > 1.0 for ratio in ratios)
    beyond_chance = won - len(ratios) / 2 > _DEVIATIONS * math.sqrt(len(ratios)) / 2
    return median(ratios) >= LEAST_SPEEDUP and beyond_chance


def unsteady(run_secs: Sequence[float], baseline_secs: Sequence[float]) -> bool:
    """Whether the rounds disagree so much that they should be taken again."""
    ratios = _ratios(run_secs, baseline_secs)
    middle = median(ratios)
    return float(np.quantile([abs(ratio / middle - 1.0) for ratio in ratios], 0.75)) > _UNSTEADY


def _ratios(run_secs: Sequence[float], baseline_secs: Sequence[float]) -> list[float]:
    return [base / run for run, base in zip(run_secs, baseline_secs, strict=True)]
