"""The integer codes of a weight: what a number of bits holds, and the nearest ones."""

from __future__ import annotations

import numpy as np

FEWEST_BITS, MOST_BITS = 2, 8


def largest_code(bits: int) -> int:
    """Codes of ``bits`` lie between minus this and this: symmetric, so that 0 is one of them and
    the negated weight is representable.

    Raises:
        ValueError: ``bits`` is not 2 to 8.
    """
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise ValueError(f"{bits} bits: codes have {FEWEST_BITS} to {MOST_BITS}")
    return int(2 ** (bits - 1)) - 1


def nearest(weight: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    """The code nearest to each of ``weight`` [..., O, K] by ``scale`` [..., O], as int8.

    As :func:`tvmcomp.qparams.quantize` rounds, ``rint(weight * (1 / scale))`` in float32, so that
    both give the same integers.
    """
    limit = largest_code(bits)
    inverse = np.float32(1) / scale.astype(np.float32)[..., None]
    with np.errstate(over="ignore"):
        steps = np.rint(weight.astype(np.float32) * inverse)
    return np.clip(steps, -limit, limit).astype(np.int8)
