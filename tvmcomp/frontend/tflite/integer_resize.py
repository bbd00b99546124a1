"""RESIZE_BILINEAR of integers, as TensorFlow Lite has it: between pixels in so many steps.

    y = x[lower] + (x[upper] - x[lower]) weight        along rows, along columns, rounded once

A weight has 11 bits for 8-bit data (XNNPACK's kernel), where halves are rounded up, and 10 for
16-bit data (its own kernel), where halves are rounded away from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.fixed_point import give_steps, integers, is_short


@dataclass(frozen=True)
class Places:
    """Where the results along one axis are.

    Attributes:
        lower, upper: the pixels on both sides of each: int64.
        weight: of the upper one, 0 to 1: float64.
    """

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray


def byte_places(size: int, wanted: int, corners: bool, centers: bool) -> Places:
    """The places of ``wanted`` results over ``size`` pixels, for 8-bit data.

    Args:
        size: of the data's axis.
        wanted: of the result's axis.
        corners: the first and the last pixels' centres are those of the results.
        centers: pixels have their centres at a half.
    """
    less = int(corners and wanted != 1)
    scale = np.float32(size - less) / np.float32(wanted - less)
    at = np.arange(wanted, dtype=np.float32) * scale
    if centers and not corners:
        at = at + (np.float32(0.5) * scale - np.float32(0.5))
        at = np.clip(at, np.float32(0), np.float32(size - 1))
    lower = np.minimum(np.floor(at).astype(np.int64), size - 1)
    weight = np.rint((at - lower.astype(np.float32)) * np.float32(2**11)) / 2**11
    return Places(lower, np.minimum(lower + 1, size - 1), weight.astype(np.float64))


def short_places(size: int, wanted: int, corners: bool, centers: bool) -> Places:
    """As :func:`byte_places` for 16-bit data: the step has 10 bits behind the point."""
    less = int(corners and wanted > 1)
    scale = (2**10 * (size - less) + (wanted - less) // 2) // (wanted - less)
    at = np.arange(wanted) * scale
    if centers:
        at = np.maximum(at + scale // 2 - 2**9, 0)
    lower = np.minimum(at // 2**10, size - 1)
    upper = np.minimum(-(-at // 2**10), size - 1)
    return Places(lower, upper, np.where(upper > lower, (at - lower * 2**10) / 2**10, 0.0))


def integer_resize(call: Call, rows: Places, columns: Places) -> None:
    """Write the operator."""
    wide = is_short(call.tensor(0))
    result = integers(call, 0)
    for axis, places in ((1, rows), (2, columns)):
        result = _between(call, result, axis, places, np.float64 if wide else np.float32)
    half = call.w.constant(np.float64(0.5) if wide else np.float32(0.5))
    if wide:
        size = call.node("Floor", call.node("Add", call.node("Abs", result), half))
        give_steps(call, call.node("Mul", size, call.node("Sign", result)))
    else:
        give_steps(call, call.node("Floor", call.node("Add", result, half)))


def _between(call: Call, name: str, axis: int, places: Places, real: type) -> str:
    """``name``, NHWC, at ``places`` along ``axis``."""
    lower = call.node("Gather", name, call.w.ints(places.lower), axis=axis)
    if not places.weight.any():
        return lower
    upper = call.node("Gather", name, call.w.ints(places.upper), axis=axis)
    weight = call.w.constant(places.weight.astype(real).reshape(-1, *[1] * (3 - axis)))
    return call.node("Add", lower, call.node("Mul", call.node("Sub", upper, lower), weight))
