"""Bias correction: the mean error of an operator's results goes into its bias.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv:1906.04721), in its empirical form: rounding a weight and its data shifts the mean of each
output channel, and a shift that all positions and samples share is one that the bias can take back.
"""

from __future__ import annotations

import numpy as np


def bias_correction(
    weight: np.ndarray, rounded: np.ndarray, mean: np.ndarray, rounded_mean: np.ndarray
) -> np.ndarray:
    """What to add to each output.

    Args:
        weight: float [..., O, K]; leading axes are groups.
        rounded: the same, as its integers stand for it.
        mean: float [..., K], the mean of each input in the float network.
        rounded_mean: the same, of what the rounded weight multiplies.

    Returns:
        float32 [..., O], ``W mean - Q rounded_mean``: with it the mean result is the float one.
    """
    wanted = weight.astype(np.float64) @ mean.astype(np.float64)[..., None]
    given = rounded.astype(np.float64) @ rounded_mean.astype(np.float64)[..., None]
    return np.asarray((wanted - given)[..., 0], np.float32)
