"""Which calibration samples are fitted on, and which only judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

#: With fewer samples none is held out: a range of three samples is worth more than a proof of one.
FEWEST_SAMPLES = 8
#: One sample in so many is held out, but no more than suffice.
_SHARE = 4
_MOST_HELD_OUT = 64


def hold_out(samples: Sequence[T]) -> tuple[list[T], list[T]]:
    """Divide ``samples`` into those to fit on and those to judge by, both in order.

    Drawn at random, always the same: samples often come sorted or in cycles of their classes.
    Of fewer than :data:`FEWEST_SAMPLES` both are all.
    """
    count = min(len(samples) // _SHARE, _MOST_HELD_OUT)
    if len(samples) < FEWEST_SAMPLES:
        return list(samples), list(samples)
    judging = set(np.random.default_rng(0).permutation(len(samples))[:count].tolist())
    fitted = [sample for i, sample in enumerate(samples) if i not in judging]
    return fitted, [samples[i] for i in sorted(judging)]
