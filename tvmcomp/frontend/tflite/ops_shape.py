"""Shapes, and tensors made of them."""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.tflite.arrays import MOST_MADE
from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.writer import onnx_type


def broadcast_to(call: Call) -> None:
    """BROADCAST_TO."""
    call.give(call.node("Expand", call.real(0), call.ints(1)))


def broadcast_args(call: Call) -> None:
    """BROADCAST_ARGS: the shape that two shapes broadcast to."""
    left, right = call.constant(0), call.constant(1)
    call.give_array(np.asarray(np.broadcast_shapes(tuple(left), tuple(right)), left.dtype))


def shape(call: Call) -> None:
    """SHAPE."""
    known = call.tensor(0).shape
    dtype = call.out().dtype
    if known is not None and min(known, default=0) >= 0:
        call.give_array(np.asarray(known, dtype))
        return
    result = call.node("Shape", call.stored(0))
    call.give_stored(result if dtype == np.int64 else call.cast(result, dtype))


def rank(call: Call) -> None:
    """RANK."""
    call.give_array(np.asarray(call.rank(0), np.int32))


def range_(call: Call) -> None:
    """RANGE."""
    parts = [call.stored(i) for i in range(3)]
    call.give_stored(call.node("Range", *parts))


def fill(call: Call) -> None:
    """FILL a shape with a number."""
    call.give(call.node("Expand", call.real(1), call.ints(0)))


def cast(call: Call) -> None:
    """CAST; complex numbers lose their imaginary parts."""
    dtype = call.out().dtype
    if call.is_complex(0):
        call.give_stored(call.cast(call.parts(0)[0], dtype))
        return
    array = call.array(0)
    if array is not None and dtype is not None and dtype.kind in "iufb":
        call.give_array(array.astype(dtype))
        return
    call.give_stored(call.node("Cast", call.stored(0), to=onnx_type(dtype)))


def _diagonal(size: int) -> np.ndarray:
    if size * size > MOST_MADE:
        raise ValueError(f"matrices of {size} x {size} are too large")
    return np.eye(size, dtype=bool)


def matrix_diag(call: Call) -> None:
    """MATRIX_DIAG: vectors as diagonals of square matrices."""
    size = call.static(0)[-1]
    rows = call.node("Unsqueeze", call.real(0), call.w.ints([-1]))
    diagonal = call.w.constant(_diagonal(size))
    call.give(call.node("Where", diagonal, rows, call.number(0)))


def matrix_set_diag(call: Call) -> None:
    """MATRIX_SET_DIAG."""
    rows, columns = call.static(0)[-2:]
    if rows != columns:
        raise ValueError(f"matrices of {rows} x {columns} are not supported")
    diagonal = call.w.constant(_diagonal(rows))
    values = call.node("Unsqueeze", call.real(1), call.w.ints([-1]))
    call.give(call.node("Where", diagonal, values, call.real(0)))


#: Operator of the source -> converter.
SHAPE: dict[str, Converter] = {
    "BROADCAST_ARGS": broadcast_args,
    "BROADCAST_TO": broadcast_to,
    "CAST": cast,
    "FILL": fill,
    "MATRIX_DIAG": matrix_diag,
    "MATRIX_SET_DIAG": matrix_set_diag,
    "RANGE": range_,
    "RANK": rank,
    "SHAPE": shape,
}
