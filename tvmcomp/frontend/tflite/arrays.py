"""Constants that the converter makes, in place of those that a file stores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.network import Quantization

#: Elements of a constant that the converter makes of sizes alone.
MOST_MADE = 1 << 24


def zeros(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Zeros of a shape that a file names and stores no bytes for.

    Raises:
        ValueError: there are too many.
    """
    if math.prod(shape) > MOST_MADE:
        raise ValueError(f"a tensor of {list(shape)} that is made here is too large")
    return np.zeros(tuple(shape), dtype)


def dequantized(array: np.ndarray, quantization: Quantization | None) -> np.ndarray:
    """The real numbers, in float32, that a constant stands for."""
    if quantization is None:
        return array
    shape = [1] * array.ndim
    if not quantization.per_tensor:
        shape[quantization.axis] = quantization.scale.size
    scale = quantization.scale.reshape(shape).astype(np.float64)
    zero = quantization.zero_point.reshape(shape)
    return ((array.astype(np.int64) - zero) * scale).astype(np.float32)
