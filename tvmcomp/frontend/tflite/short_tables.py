"""Functions of one 16-bit number, as TensorFlow Lite looks them up.

Most have a table of 513 results over the whole range of the data, and interpolate between two of
them in 128 steps. LOGISTIC and TANH have one of 256 for all scales: the sigmoid of every 24th part
of 1, in 16 bits behind the point. Either way one of 65536 numbers goes in, so all results are known
here, and the operator is a Gather of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.fixed_point import is_short, out_scale, scale_of

Function = Callable[[np.ndarray], np.ndarray]

_LOW, _HIGH = -(2.0**15), 2.0**15 - 1
#: Every number that goes in.
SHORTS = np.arange(-(2**15), 2**15)


def is_short_function(call: Call) -> bool:
    """Whether the operator makes 16-bit numbers of 16-bit ones, zero points all 0."""
    tensors = call.tensor(0), call.out()
    return all(
        is_short(each) and each.quantization is not None and not each.quantization.zero_point.any()
        for each in tensors
    )


def give_results(call: Call, results: np.ndarray) -> None:
    """Make ``results`` of :data:`SHORTS` at the data the output; int16.

    Negative numbers count from the end as indices.
    """
    stored = np.roll(results, 2**15).astype(np.int16)
    index = call.cast(call.stored(0), "int32")
    call.give_stored(call.node("Gather", call.w.constant(stored), index))


def interpolated(call: Call, function: Function) -> None:
    """Write the element-wise ``function`` of float64 numbers, as it interpolates it.

    It may warn of numbers that it has no result for.
    """
    scale, step = np.float32(scale_of(call, 0)), np.float32(out_scale(call))
    low, high = scale * np.float32(_LOW), scale * np.float32(_HIGH)
    units = np.float32(2**16) / (step * np.float32(_HIGH) - step * np.float32(_LOW))
    entries = table(function, low, high, units, np.float32).astype(np.int64)
    index, offset = SHORTS // 128 + 256, SHORTS % 128
    slope = _wrapped(np.diff(entries))
    give_results(call, _wrapped(entries[index] + ((slope[index] * offset + 64) >> 7)))


def table(
    function: Function, low: float, high: float, units: float = 2.0**15, real: type = np.float64
) -> np.ndarray:
    """The 513 numbers of ``function`` from ``low`` to ``high``, of which ``units`` are 1.

    Each is moved by half of the error that the interpolation makes in the middle of its interval.
    ``real`` is the type that it computes in.
    """
    span = (real(high) - real(low)) / real(512)
    at = real(low) + np.arange(513, dtype=real) * span

    def stored(x: np.ndarray) -> np.ndarray:
        return function(x.astype(np.float64)).astype(real) * real(units)

    with np.errstate(all="ignore"):
        following = stored(at)
        middle = _away(stored(at[:-1] + span / 2))
        at[-1] = high
        values = _away(stored(at))
        error = _away((following[1:] + values[:-1]) / 2) - middle
        values[:-1] -= _away(error / 2)
    return np.clip(np.nan_to_num(values, nan=0.0), _LOW, _HIGH).astype(np.float64)


def sigmoid_results(scale: float) -> np.ndarray:
    """The sigmoid of every 16-bit number times ``scale``, in 15 bits behind the point."""
    place = _places(scale)
    high = _between(np.abs(place), 9, 0x7FFF << 10)
    half = 1 << 9
    return np.where(place >= 0, high + half, (1 << 25) - high + half - 1) >> 10


def tanh_results(scale: float) -> np.ndarray:
    """The hyperbolic tangent likewise: 2 sigmoid(2 x) - 1."""
    place = _places(scale)
    high = _between(np.abs(place), 8, 0xFFFF << 8) - (1 << 23)
    half = 1 << 7
    return np.where(place >= 0, high + half, half - high - 1) >> 8


def _places(scale: float) -> np.ndarray:
    """Every number times ``scale`` in units of 1 / (3 * 4096), rounded."""
    multiplier, shift = scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    return (SHORTS * int(multiplier) + ((1 << shift) >> 1)) >> shift


def _between(place: np.ndarray, bits: int, most: int) -> np.ndarray:
    """The sigmoid table at ``place``, of which ``bits`` are between two of its numbers."""
    entries = _SIGMOID[np.minimum(place >> bits, 254)]
    following = _SIGMOID[np.minimum(place >> bits, 254) + 1]
    part = place & ((1 << bits) - 1)
    return np.where(place >> bits >= 255, most, (entries << bits) + part * (following - entries))


def _wrapped(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers as 16 bits hold them."""
    return (numbers + 2**15) % 2**16 - 2**15


def _away(x: np.ndarray) -> np.ndarray:
    """``x`` rounded, halves away from 0."""
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


#: Which of its sigmoids are one more than the nearest.
_MORE = [
    4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41,
    43, 44, 45, 46, 49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255,
]  # fmt: skip
_SIGMOID = np.rint(2**16 / (1 + np.exp(-np.arange(256) / 24))).astype(np.int64)
_SIGMOID[_MORE] += 1
