"""Our converters of DFT, STFT and MelWeightMatrix: products with constant matrices.

A transform of n points is a product with a matrix of n x n sines and cosines. Frames of speech have
a few hundred points, where a product of matrices is as fast as anything.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.limits import TRANSFORM_ELEMENTS
from tvmcomp.frontend.onnx.values import array_of, constant, dtype_of, ints_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class DFT(Converter):
    """DFT along one axis, of a length known at build time."""

    @classmethod
    def _impl_v17(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return cls._transform(bb, inputs, attr, attr.get("axis", 1))

    @classmethod
    def _impl_v20(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        (axis,) = (-2,) if inputs[2] is None else ints_of(inputs[2], "axis")
        return cls._transform(bb, inputs, attr, axis)

    @staticmethod
    def _transform(bb: Builder, inputs: Inputs, attr: dict[str, Any], axis: int) -> Expr:
        data = inputs[0]
        shape = shape_of(data)
        rank = len(shape)
        if not -rank <= axis < rank or axis % rank == rank - 1:
            raise ValueError(f"its axis {axis} is not one of the {rank - 1} before the last")
        axis %= rank
        inverse, onesided = bool(attr.get("inverse", 0)), bool(attr.get("onesided", 0))
        points = shape[axis]
        length = 2 * (points - 1) if inverse and onesided else points
        if inputs[1] is not None:
            (length,) = ints_of(inputs[1], "length")
        _check_length(length)
        order = [i for i in range(rank - 1) if i != axis] + [axis, rank - 1]
        matrix = dft_matrix(points, shape[-1], length, inverse=inverse, onesided=onesided)
        rows = math.prod(shape[i] for i in order[:-2])
        moved = bb.emit(relax.op.permute_dims(data, order)) if order != sorted(order) else data
        flat = bb.emit(relax.op.reshape(moved, (rows, points * shape[-1])))
        bins, parts = matrix.shape[2:]
        weight = constant(matrix.reshape(points * shape[-1], -1).astype(dtype_of(data)))
        product = bb.emit(relax.op.matmul(flat, weight))
        result = [shape[i] for i in order[:-2]] + [bins, parts]
        moved = bb.emit(relax.op.reshape(product, result))
        if order == sorted(order):
            return moved
        return relax.op.permute_dims(moved, [int(i) for i in np.argsort(order)])


class STFT(Converter):
    """STFT of frames whose length and step are known at build time."""

    @classmethod
    def _impl_v17(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        signal, window = inputs[0], inputs[2]
        (step,) = ints_of(inputs[1], "frame step")
        if inputs[3] is not None:
            (length,) = ints_of(inputs[3], "frame length")
        elif window is not None:
            (length,) = shape_of(window)
        else:
            raise ValueError("it has neither a window nor a frame length")
        _check_length(length)
        shape = shape_of(signal)
        batch, samples, parts = [*shape, 1] if len(shape) == 2 else shape
        if step < 1 or length > samples:
            raise ValueError(
                f"it takes frames of {length}, each {step} later, of {samples} samples"
            )
        frames = (samples - length) // step + 1
        places = np.arange(frames)[:, None] * step + np.arange(length)
        dtype = dtype_of(signal)
        data = bb.emit(relax.op.reshape(signal, (batch, samples, parts)))
        framed = bb.emit(relax.op.take(data, constant(places), 1, mode="clip"))
        matrix = dft_matrix(
            length, parts, length, inverse=False, onesided=bool(attr.get("onesided", 1))
        )
        factors = None if window is None else array_of(window)
        if factors is not None:
            matrix = matrix * factors.astype("float64").reshape(-1, 1, 1, 1)
        elif window is not None:
            spread = bb.emit(relax.op.reshape(window, (length, 1)))
            framed = bb.emit(relax.op.multiply(framed, spread))
        flat = bb.emit(relax.op.reshape(framed, (batch * frames, length * parts)))
        weight = constant(matrix.reshape(length * parts, -1).astype(dtype))
        product = bb.emit(relax.op.matmul(flat, weight))
        return relax.op.reshape(product, (batch, frames, *matrix.shape[2:]))


class MelWeightMatrix(Converter):
    """MelWeightMatrix: a constant."""

    @classmethod
    def _impl_v17(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        (bands,) = ints_of(inputs[0], "number of bands")
        (length,) = ints_of(inputs[1], "length")
        (rate,) = ints_of(inputs[2], "sample rate")
        if length:
            _check_length(length)
        edges = [array_of(each) for each in inputs[3:5]]
        if edges[0] is None or edges[1] is None or rate < 1 or bands < 0:
            raise ValueError("its frequencies must be known at build time, its rate above 0")
        low, high = (2595 * math.log10(1 + edge.item() / 700) for edge in edges if edge is not None)
        mel = np.arange(bands + 2) * ((high - low) / (bands + 2)) + low
        bins = ((length + 1) * (700 * (10 ** (mel / 2595) - 1)) // rate).astype(int)
        matrix = np.zeros((length // 2 + 1, bands))
        for band in range(bands):
            first, centre, last = bins[band : band + 3]
            if centre == first:
                matrix[centre, band] = 1
            else:
                rising = np.arange(first, centre + 1)
                matrix[rising, band] = (rising - first) / (centre - first)
            if last > centre:
                falling = np.arange(centre, last)
                matrix[falling, band] = (last - falling) / (last - centre)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(attr.get("output_datatype", 1))
        return constant(matrix.astype(dtype))


def dft_matrix(
    points: int, parts: int, length: int, *, inverse: bool, onesided: bool
) -> np.ndarray:
    """The matrix of a DFT: (points, parts) to (bins, parts), float64.

    Args:
        points: of the input; what is beyond ``length`` is cut off, what is missing is zero.
        parts: of an input number: 1 where real, 2 where complex.
        length: of the transform.
        inverse: with a positive exponent, and divided by ``length``.
        onesided: of half the spectrum: the output of a forward transform, whose input is real; the
            input of an inverse one, whose output is real.

    Raises:
        ValueError: onesided and forward of complex numbers, or inverse of real ones.
    """
    if onesided and parts != (2 if inverse else 1):
        raise ValueError("a onesided transform is forward of real, or inverse of complex numbers")
    real_result = inverse and onesided
    bins = length // 2 + 1 if onesided and not inverse else length
    used = min(points, length // 2 + 1 if real_result else length)
    angles = np.outer(np.arange(used), np.arange(bins)) % length * (2 * math.pi / length)
    cosine, sine = np.cos(angles), np.sin(angles) * (1 if inverse else -1)
    if inverse:
        cosine, sine = cosine / length, sine / length
    if real_result:
        # Every number of the half but the first, and the middle one, stands for two.
        twice = np.full((used, 1), 2.0)
        twice[0] = 1
        if length % 2 == 0 and used == length // 2 + 1:
            twice[-1] = 1
        cosine, sine = cosine * twice, sine * twice
    matrix = np.zeros((points, parts, bins, 1 if real_result else 2))
    matrix[:used, 0, :, 0] = cosine
    if not real_result:
        matrix[:used, 0, :, 1] = sine
    if parts == 2:
        matrix[:used, 1, :, 0] = -sine
        if not real_result:
            matrix[:used, 1, :, 1] = cosine
    return matrix


def _check_length(length: int) -> None:
    if not length >= 1 or length * length > TRANSFORM_ELEMENTS:
        most = math.isqrt(TRANSFORM_ELEMENTS)
        raise ValueError(f"it transforms {length:,} points; 1 to {most:,} are supported")


#: ONNX operator -> converter.
SIGNAL = {"DFT": DFT, "MelWeightMatrix": MelWeightMatrix, "STFT": STFT}
