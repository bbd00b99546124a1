"""Our converters of Resize and Upsample.

What relax.image.resize2d computes exactly becomes it. The rest (one or three spatial dimensions,
scales that don't divide, antialiasing, cropping) is separable: along each axis it is a gather or
a product with a small constant matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.resized_axis import (
    ResizedAxis,
    axes_of_node,
    axes_of_scales,
    nearest_indices,
    outside,
    resize_matrix,
)
from tvmcomp.frontend.onnx.values import array_of, constant, constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class Upsample(Converter):
    """Upsample, and Resize of operator set 10: no coordinate modes yet."""

    @classmethod
    def _impl_v7(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return cls._upsample(bb, inputs[0], list(attr["scales"]), attr)

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return cls._upsample(bb, inputs[0], _floats(inputs[1]), attr)

    @classmethod
    def _upsample(cls, bb: Builder, data: Expr, scales: list[float], attr: dict[str, Any]) -> Expr:
        shrinks = any(scale < 1 for scale in scales)
        settings = {
            "mode": attr.get("mode", b"nearest"),
            "coordinate_transformation_mode": b"asymmetric",
            "nearest_mode": b"ceil" if shrinks else b"floor",
        }
        return _resize(bb, data, axes_of_scales(shape_of(data), scales, {}), settings)


class Resize(Converter):
    """Resize by scales or to sizes known at build time, of any rank, in any mode."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return Upsample._impl_v9(bb, inputs, attr, params)

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        shape = shape_of(data)
        roi, scales, sizes = _floats(inputs[1]), _floats(inputs[2]), _floats(inputs[3])
        axes = axes_of_node(shape, attr, roi, scales, sizes)
        return _resize(bb, data, axes, attr)


def _floats(expr: Expr) -> list[float]:
    if expr is None:
        return []
    array = array_of(expr)
    if array is None:
        raise ValueError("its region, scales and sizes must be known at build time")
    return [float(value) for value in array.reshape(-1)]


def _resize(bb: Builder, data: Expr, axes: list[ResizedAxis], attr: dict[str, Any]) -> Expr:
    if not axes:
        return data
    mode = attr.get("mode", b"nearest")
    if mode != b"nearest" and dtype_of(data) not in ("float32", "float64"):
        return _resize_in_float32(bb, data, axes, attr)
    if _is_exact_in_relax(data, axes, attr):
        return _resize2d(data, axes, attr)
    for axis in axes:
        data = bb.emit(_resize_axis(bb, data, axis, attr))
    value = constant_like(data, attr.get("extrapolation_value", 0.0))
    for axis in axes:
        beyond = outside(axis, attr)
        if beyond.any():
            along = [-1 if i == axis.index else 1 for i in range(len(shape_of(data)))]
            data = bb.emit(relax.op.where(constant(beyond.reshape(along)), value, data))
    return data


def _resize_in_float32(
    bb: Builder, data: Expr, axes: list[ResizedAxis], attr: dict[str, Any]
) -> Expr:
    """Interpolate in single precision; then integers are cut off, as ONNX Runtime does.

    With antialias it rounds them, halves away from 0, after each axis, the last one first.
    """
    real = bb.emit(relax.op.astype(data, "float32"))
    if not attr.get("antialias", 0) or dtype_of(data).startswith(("float", "bfloat")):
        return relax.op.astype(bb.emit(_resize(bb, real, axes, attr)), dtype_of(data))
    half = relax.const(0.5, "float32")
    for axis in reversed(axes):
        real = bb.emit(_resize_axis(bb, real, axis, attr))
        size = bb.emit(relax.op.floor(bb.emit(relax.op.add(bb.emit(relax.op.abs(real)), half))))
        real = bb.emit(relax.op.multiply(bb.emit(relax.op.sign(real)), size))
    return relax.op.astype(real, dtype_of(data))


def _is_exact_in_relax(data: Expr, axes: list[ResizedAxis], attr: dict[str, Any]) -> bool:
    """Say whether relax.image.resize2d, which scales by output size / input size, is the same."""
    # Aligned corners depend on the two sizes only, and divide by one less.
    corners = attr.get("coordinate_transformation_mode") == b"align_corners"
    if corners and any(axis.size_out == 1 for axis in axes):
        return False
    # Where a fraction is rounded, its last bit counts: TVM computes it in another order.
    nearest = attr.get("mode", b"nearest") == b"nearest"
    if nearest and (corners or any(axis.size_out % axis.size_in for axis in axes)):
        return False
    if not nearest and dtype_of(data) != "float32":  # TVM interpolates in single precision
        return False
    return (
        len(shape_of(data)) == 4
        and {axis.index for axis in axes} <= {2, 3}
        and all(abs(axis.size_in * axis.scale - axis.size_out) < 1e-4 or corners for axis in axes)
        and attr.get("mode", b"nearest") in (b"nearest", b"linear")
        and attr.get("coordinate_transformation_mode", b"half_pixel")
        in (b"half_pixel", b"asymmetric", b"align_corners")
        and not attr.get("antialias", 0)
    )


def _resize2d(data: Expr, axes: list[ResizedAxis], attr: dict[str, Any]) -> Any:
    size = shape_of(data)[2:]
    for axis in axes:
        size[axis.index - 2] = axis.size_out
    nearest = attr.get("mode", b"nearest") == b"nearest"
    return relax.op.image.resize2d(
        data,
        size=relax.ShapeExpr(size),
        layout="NCHW",
        method="nearest_neighbor" if nearest else "linear",
        coordinate_transformation_mode=attr.get(
            "coordinate_transformation_mode", b"half_pixel"
        ).decode(),
        rounding_method=attr.get("nearest_mode", b"round_prefer_floor").decode() if nearest else "",
    )


def _resize_axis(bb: Builder, data: Expr, axis: ResizedAxis, attr: dict[str, Any]) -> Expr:
    if attr.get("mode", b"nearest") == b"nearest":
        indices = constant(nearest_indices(axis, attr))
        return relax.op.take(data, indices, axis.index, mode="clip")
    if axis.size_in == 1 and axis.region == (0.0, 1.0):
        repeats = [axis.size_out if i == axis.index else 1 for i in range(len(shape_of(data)))]
        return relax.op.tile(data, repeats)
    matrix = resize_matrix(axis, attr)
    rank = len(shape_of(data))
    order = [*(i for i in range(rank) if i != axis.index), axis.index]
    last = axis.index == rank - 1
    moved = data if last else bb.emit(relax.op.permute_dims(data, order))
    product = relax.op.matmul(moved, constant_like(data, matrix))
    return product if last else relax.op.permute_dims(bb.emit(product), list(np.argsort(order)))
