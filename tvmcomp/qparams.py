"""Scales and zero points: how a range becomes the parameters of 8-bit integers, and what they mean.

``real = (integer - zero_point) * scale``, the affine scheme of Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (arXiv:1712.05877).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

IntegerDtype = Literal["uint8", "int8", "int32"]

#: The smallest scale in use: a denormal one would have an infinite reciprocal, and hardware that
#: flushes denormals would read it as zero.
MIN_SCALE = np.finfo(np.float32).tiny

_STEPS = 255


@dataclass(frozen=True, eq=False)
class QParams:
    """The integers of one tensor.

    Attributes:
        scale: float32, a scalar (shape ``()``), or one value a channel (shape ``(C,)``).
        zero_point: int32, of the same shape; the integer that stands for 0.
        dtype: the integers' type.
        axis: the channel axis, or None for a scalar scale.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    dtype: IntegerDtype
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.scale.dtype != np.float32 or self.zero_point.dtype != np.int32:
            raise ValueError("scale must be float32 and zero_point int32")
        if self.scale.shape != self.zero_point.shape:
            raise ValueError("scale and zero_point must have the same shape")
        if self.scale.ndim != (0 if self.axis is None else 1):
            raise ValueError("a per-channel scale needs an axis, a scalar one has none")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QParams):
            return NotImplemented
        return (
            (self.dtype, self.axis) == (other.dtype, other.axis)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


def activation_qparams(lo: float, hi: float, dtype: Literal["uint8", "int8"]) -> QParams:
    """Asymmetric parameters of a tensor whose values lie in ``[lo, hi]``.

    The range is widened to hold 0, which is then represented exactly: padding and the zeros of
    ReLU carry no error. ``int8`` differs from ``uint8`` only by 128 in every integer, so both
    give the same real values.

    Raises:
        ValueError: ``lo`` or ``hi`` is not finite, or ``lo > hi``.
    """
    if not (np.isfinite(lo) and np.isfinite(hi) and lo <= hi):
        raise ValueError(f"[{lo}, {hi}] is not a range")
    # In float64: hi - lo may not fit in float32.
    low, high = min(float(lo), 0.0), max(float(hi), 0.0)
    scale = _safe_scale(np.float64(high - low) / _STEPS)
    zero_point = int(np.clip(np.rint(-low / np.float64(scale)), 0, _STEPS))
    if dtype == "int8":
        zero_point -= 128
    return QParams(scale, np.array(zero_point, np.int32), dtype)


def weight_qparams(weight: np.ndarray, axis: int | None) -> QParams:
    """Symmetric int8 parameters of a weight, one scale a channel of ``axis`` (None: one in all).

    A scale is rounded up to a bfloat16, so that an artifact can hold it in 16 bits; the integers
    are made with that very scale, so nothing is lost but a little of the range.

    Integers lie in [-127, 127]: with -128 the negated weight would not be representable, and
    pairs of products would overflow 16 bits on targets that add them up there.

    Raises:
        ValueError: the weight holds NaN or Inf.
    """
    if not np.isfinite(weight).all():
        raise ValueError("the weight holds NaN or Inf")
    if axis is None:
        largest = np.abs(weight).max(initial=0)
    else:
        axis %= weight.ndim
        others = tuple(dim for dim in range(weight.ndim) if dim != axis)
        largest = np.abs(weight).max(axis=others, initial=0)
    scale = weight_scale(largest, 127)
    return QParams(scale, np.zeros(scale.shape, np.int32), "int8", axis)


def weight_scale(largest: np.ndarray, codes: int) -> np.ndarray:
    """The scales, rounded up to a bfloat16, by which ``largest`` is about ``codes`` steps."""
    return _round_up_to_bfloat16(_safe_scale(np.asarray(largest, np.float64) / codes))


def _round_up_to_bfloat16(scale: np.ndarray) -> np.ndarray:
    """The next float32 of 8 significant bits; the very largest stay as they are."""
    bits = scale.astype(np.float32).view(np.uint32).astype(np.uint64)
    up = ((bits + np.uint64(0xFFFF)) & np.uint64(0xFFFF0000)).astype(np.uint32).view(np.float32)
    return np.asarray(np.where(np.isfinite(up), up, scale), np.float32)


def quantize(values: np.ndarray, qparams: QParams) -> np.ndarray:
    """The integers of float ``values``: ``clip(rint(values * (1 / scale)) + zero_point)``.

    In float32, as kernels compute it (a division would take them longer than the rest of an
    epilogue), rounding half to even, saturation at the ends of the type (at -127 for symmetric int8
    weights it never gets that far). This is the reference every kernel is held to. ``values`` must
    not hold NaN.
    """
    scale, zero_point = _broadcast(qparams, values.ndim)
    limits = np.iinfo(qparams.dtype)
    with np.errstate(over="ignore"):
        steps = np.rint(values.astype(np.float32, copy=False) * (np.float32(1) / scale))
    # float64 holds every int32, so the limits are exact.
    shifted = steps.astype(np.float64) + zero_point
    return np.clip(shifted, limits.min, limits.max).astype(qparams.dtype)


def dequantize(integers: np.ndarray, qparams: QParams) -> np.ndarray:
    """The float32 values that ``integers`` stand for: ``(integers - zero_point) * scale``."""
    scale, zero_point = _broadcast(qparams, integers.ndim)
    return (integers.astype(np.int32) - zero_point).astype(np.float32) * scale


def _safe_scale(scale: np.ndarray | np.float64) -> np.ndarray:
    """``scale`` as float32; 1 for all-zero data, and never denormal."""
    scale = np.asarray(scale, np.float64)
    return np.where(scale == 0, 1.0, np.maximum(scale, MIN_SCALE)).astype(np.float32)


def _broadcast(qparams: QParams, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point in the shape that lines their channel up with a tensor's axis."""
    if qparams.axis is None:
        return qparams.scale, qparams.zero_point
    shape = [1] * ndim
    shape[qparams.axis] = -1
    return qparams.scale.reshape(shape), qparams.zero_point.reshape(shape)
