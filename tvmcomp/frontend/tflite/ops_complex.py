"""Fourier transforms, and the complex numbers that they give.

A complex tensor is two ONNX values, its real and its imaginary parts. Operators that only move data
move each of them (:func:`of_parts`); REAL, IMAG, COMPLEX_ABS and a CAST to real numbers end it. A
transform is a product with constant matrices of cosines and sines::

    X = A + iB = x (C - iS),    C[n, k] = cos(2 pi n k / N),  S[n, k] = sin(2 pi n k / N)

so that what reads one part alone, as TensorFlow's CAST does, computes one product. Cosines are even
and sines odd in n, so half of the points are enough: of the sums x[n] + x[N - n], and of the
differences.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from tvmcomp.frontend.onnx.limits import TRANSFORM_ELEMENTS
from tvmcomp.frontend.tflite.call import Call, Converter


def rfft2d(call: Call) -> None:
    """RFFT2D: of the last two axes, cut or filled with zeros to the lengths of input 1.

    Of the last axis the bins up to half of its length are kept: the others mirror them.
    """
    shape = call.shape(0)
    if len(shape) < 2 or min(shape[-2:]) < 0:
        raise ValueError(f"it transforms the last two axes of {list(shape)}, which must be known")
    height, width = shape[-2:]
    rows, columns = (int(length) for length in call.constant(1).reshape(-1))
    data = call.real(0)
    if rows < height:
        data, height = _part_of(call, data, 0, rows, axis=-2), rows
    if columns < width:
        data, width = _part_of(call, data, 0, columns), columns
    cosine, sine = _waves(width, columns // 2 + 1, columns)
    sums = differences = data
    if width == columns and columns >= 4 and columns % 2 == 0:
        sums, differences = _folded(call, data, columns)
        cosine, sine = cosine[: columns // 2 + 1], sine[1 : columns // 2]
    real = call.node("MatMul", sums, call.w.constant(cosine))
    imaginary = call.node("Neg", call.node("MatMul", differences, call.w.constant(sine)))
    if rows != 1:
        turns = (call.w.constant(m.T.copy()) for m in _waves(height, rows, rows))
        # (C - iS) (A + iB)
        turned = [[call.node("MatMul", m, v) for v in (real, imaginary)] for m in turns]
        real = call.node("Add", turned[0][0], turned[1][1])
        imaginary = call.node("Sub", turned[0][1], turned[1][0])
    call.give_parts(real, imaginary)


def _folded(call: Call, data: str, points: int) -> tuple[str, str]:
    """The sums ``x[n] + x[N - n]`` for n up to half of an even N, and the differences between.

    The first and the middle point, which mirror themselves, are there once, as sums.
    """
    half = points // 2
    front = _part_of(call, data, 1, half)
    back = _part_of(call, data, points - 1, half, step=-1)
    first, middle = _part_of(call, data, 0, 1), _part_of(call, data, half, half + 1)
    sums = call.node("Concat", first, call.node("Add", front, back), middle, axis=-1)
    return sums, call.node("Sub", front, back)


def _part_of(call: Call, data: str, start: int, end: int, *, axis: int = -1, step: int = 1) -> str:
    return call.node("Slice", data, *(call.w.ints([number]) for number in (start, end, axis, step)))


def _part(i: int) -> Converter:
    def convert(call: Call) -> None:
        call.give(call.node("Identity", call.parts(0)[i]))

    return convert


def _waves(points: int, bins: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the first points and bins of a transform, [points, bins] each."""
    if not length >= 1 or length * length > TRANSFORM_ELEMENTS:
        most = math.isqrt(TRANSFORM_ELEMENTS)
        raise ValueError(f"it transforms {length:,} points; 1 to {most:,} are supported")
    turns = np.outer(np.arange(points), np.arange(bins)) % length
    angles = turns * (2 * np.pi / length)
    return np.cos(angles).astype("float32"), np.sin(angles).astype("float32")


def complex_abs(call: Call) -> None:
    """COMPLEX_ABS: the length of each number."""
    squares = [call.node("Mul", part, part) for part in call.parts(0)]
    call.give(call.node("Sqrt", call.node("Add", *squares)))


def of_parts(convert: Converter) -> Converter:
    """A converter that moves data, for complex data as well."""

    @functools.wraps(convert)
    def of_either(call: Call) -> None:
        if not call.is_complex(0):
            convert(call)
            return
        source, out = call.operator.inputs[0], call.operator.outputs[0]
        stored, moved = call.values.stored, []
        for part in call.parts(0):
            stored[source] = part
            convert(call)
            moved.append(stored.pop(out))
        del stored[source]
        call.give_parts(*moved)

    return of_either


#: Operator of the source -> converter.
COMPLEX: dict[str, Converter] = {
    "COMPLEX_ABS": complex_abs,
    "IMAG": _part(1),
    "REAL": _part(0),
    "RFFT2D": rfft2d,
}
