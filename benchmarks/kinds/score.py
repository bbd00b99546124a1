"""How well a network's output does its task, in points: 100 is perfect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top1(output: NDArray, target: NDArray) -> float:
    """Percentage of samples whose highest score (samples, classes) is the target's (samples,)."""
    return 100 * float(np.mean(output.argmax(axis=1) == target))


def over_half(output: NDArray, target: NDArray) -> float:
    """Percentage of probabilities on the right side of one half; both (samples, 1)."""
    return 100 * float(np.mean((output > 0.5) == (target > 0.5)))


def r2(output: NDArray, target: NDArray) -> float:
    """Share of the target's variance that the output explains, in percent."""
    target = target.astype(np.float64)
    left = np.sum((target - output) ** 2)
    return 100 * float(1 - left / np.sum((target - target.mean()) ** 2))


def overlap(output: NDArray, target: NDArray) -> float:
    """Intersection over union of where logits are positive and the mask is set, in percent."""
    mine, wanted = output > 0, target > 0.5
    return 100 * float(np.count_nonzero(mine & wanted) / np.count_nonzero(mine | wanted))
