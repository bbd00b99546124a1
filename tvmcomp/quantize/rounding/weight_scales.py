"""The size of a weight's step, an output channel at a time.

At 8 bits the largest weight gets the largest code: 127 steps are fine enough for all. With fewer
bits a step is coarse, and cutting off the few largest weights makes it finer for all others (Banner
et al., "Post training 4-bit quantization of convolutional networks", arXiv:1810.05723): the cut
that leaves the smallest squared error is searched for, each input weighted by how large its data
are where that is known. The scales of few bits are few numbers too: with 5 significant bits, 3 to
6% apart, the search loses next to nothing, and they take 3 bits less each when coded.
"""

from __future__ import annotations

import numpy as np

from tvmcomp.qparams import weight_scale
from tvmcomp.quantize.rounding.codes import MOST_BITS, largest_code, nearest

#: Significant bits of a scale of few bits.
SCALE_BITS = 5
#: Shares of the largest weight that are tried as the end of the range.
_SHARES = np.linspace(1.0, 0.3, 36)


def weight_scales(
    weight: np.ndarray, bits: int, hessian_diagonal: np.ndarray | None = None
) -> np.ndarray:
    """A step's size for each output channel.

    Args:
        weight: float [..., O, K], finite; leading axes are groups.
        bits: 2 to 8.
        hessian_diagonal: float [..., K], the mean square of each input; None takes them as equal.

    Returns:
        float32 [..., O], each a bfloat16 as the artifact stores it, of 5 significant bits where
        ``bits`` is less than 8; positive (1 where all weights of a channel are 0).

    Raises:
        ValueError: ``bits`` is out of range, or the weight is not finite.
    """
    if not np.isfinite(weight).all():
        raise ValueError("the weight holds NaN or Inf")
    limit = largest_code(bits)
    largest = np.abs(weight).max(axis=-1, initial=0).astype(np.float64)
    best = weight_scale(largest, limit)
    if bits == MOST_BITS:
        return best
    importance = np.ones(weight.shape[-1]) if hessian_diagonal is None else hessian_diagonal
    if not importance.any():
        importance = np.ones_like(importance)
    importance = importance[..., None, :]
    best = coarse_scale(best)
    smallest = _squared_error(weight, best, bits, importance)
    for share in _SHARES[1:]:
        scale = coarse_scale(weight_scale(share * largest, limit))
        error = _squared_error(weight, scale, bits, importance)
        better = error < smallest
        best = np.where(better, scale, best)
        smallest = np.where(better, error, smallest)
    return best


def coarse_scale(scale: np.ndarray) -> np.ndarray:
    """The nearest float32 of ``SCALE_BITS`` significant bits."""
    share, exponent = np.frexp(scale)
    steps = 2**SCALE_BITS
    return np.asarray(np.ldexp(np.rint(share * steps) / steps, exponent), np.float32)


def _squared_error(
    weight: np.ndarray, scale: np.ndarray, bits: int, importance: np.ndarray
) -> np.ndarray:
    error = weight - nearest(weight, scale, bits) * scale[..., None]
    return (np.square(error, dtype=np.float64) * importance).sum(axis=-1)
