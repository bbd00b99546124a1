"""Our converters of Resize and Upsample.

What relax.image.resize2d computes exactly becomes it. The rest (one or three spatial dimensions,
scales that don't divide, antialiasing, cropping) is separable: along each axis it is a gather or
a product with a small constant matrix, which ONNX's reference implementation gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.reference

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.limits import RESIZE_ELEMENTS
from tvmcomp.frontend.onnx.values import array_of, constant, constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


@dataclass(frozen=True)
class _Axis:
    """How one axis is resized: ``scale`` is what coordinates are computed with."""

    index: int
    size_in: int
    size_out: int
    scale: float
    region: tuple[float, float]


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
        return _resize(bb, data, _axes_of_scales(shape_of(data), scales, {}), settings)


class Resize(Converter):
    """Resize by scales or to sizes known at build time, of any rank, in any mode."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return Upsample._impl_v9(bb, inputs, attr, params)

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        shape = shape_of(data)
        chosen = [axis % len(shape) for axis in attr.get("axes", range(len(shape)))]
        roi, scales, sizes = _floats(inputs[1]), _floats(inputs[2]), _floats(inputs[3])
        if attr.get("coordinate_transformation_mode") != b"tf_crop_and_resize":
            roi = []
        half = len(roi) // 2
        regions = {a: (roi[i], roi[i + half]) for i, a in enumerate(chosen)} if roi else {}
        if sizes:
            wanted = dict(zip(chosen, (int(size) for size in sizes), strict=True))
            axes = _axes_of_sizes(shape, wanted, regions, attr)
        elif scales:
            full = [1.0] * len(shape)
            for axis, scale in zip(chosen, scales, strict=True):
                full[axis] = scale
            axes = _axes_of_scales(shape, full, regions)
        else:
            raise ValueError("it has neither scales nor sizes")
        return _resize(bb, data, axes, attr)


def _floats(expr: Expr) -> list[float]:
    if expr is None:
        return []
    array = array_of(expr)
    if array is None:
        raise ValueError("its region, scales and sizes must be known at build time")
    return [float(value) for value in array.reshape(-1)]


def _axes_of_scales(
    shape: list[int], scales: list[float], regions: dict[int, tuple[float, float]]
) -> list[_Axis]:
    axes = []
    for index, (size, scale) in enumerate(zip(shape, scales, strict=True)):
        region = regions.get(index, (0.0, 1.0))
        size_out = int(np.floor(size * (region[1] - region[0]) * np.float32(scale)))
        if scale != 1 or region != (0.0, 1.0):
            axes.append(_Axis(index, size, size_out, scale, region))
    return axes


def _axes_of_sizes(
    shape: list[int],
    wanted: dict[int, int],
    regions: dict[int, tuple[float, float]],
    attr: dict[str, Any],
) -> list[_Axis]:
    policy = attr.get("keep_aspect_ratio_policy", b"stretch").decode()
    if policy != "stretch":
        choose = min if policy == "not_larger" else max
        common = choose(size / shape[axis] for axis, size in wanted.items())
        scales = [common if axis in wanted else 1.0 for axis in range(len(shape))]
        return [
            _Axis(
                axis,
                shape[axis],
                int(np.floor(shape[axis] * scales[axis] + 0.5)),
                common,
                (0.0, 1.0),
            )
            for axis in wanted
        ]
    return [
        _Axis(axis, shape[axis], size, size / shape[axis], regions.get(axis, (0.0, 1.0)))
        for axis, size in wanted.items()
        if size != shape[axis] or axis in regions
    ]


def _resize(bb: Builder, data: Expr, axes: list[_Axis], attr: dict[str, Any]) -> Expr:
    if not axes:
        return data
    mode = attr.get("mode", b"nearest")
    if mode != b"nearest" and dtype_of(data) not in ("float32", "float64"):
        return _resize_in_float32(bb, data, axes, attr)
    if _is_exact_in_relax(data, axes, attr):
        return _resize2d(data, axes, attr)
    if attr.get("extrapolation_value", 0.0) and any(axis.region != (0.0, 1.0) for axis in axes):
        raise ValueError("tf_crop_and_resize with an extrapolation_value is not supported")
    for axis in axes:
        data = bb.emit(_resize_axis(bb, data, axis, attr))
    return data


def _resize_in_float32(bb: Builder, data: Expr, axes: list[_Axis], attr: dict[str, Any]) -> Expr:
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


def _is_exact_in_relax(data: Expr, axes: list[_Axis], attr: dict[str, Any]) -> bool:
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


def _resize2d(data: Expr, axes: list[_Axis], attr: dict[str, Any]) -> Any:
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


def _resize_axis(bb: Builder, data: Expr, axis: _Axis, attr: dict[str, Any]) -> Expr:
    if attr.get("mode", b"nearest") == b"nearest":
        indices = constant(_nearest(axis, attr))
        return relax.op.take(data, indices, axis.index, mode="clip")
    if axis.size_in == 1 and axis.region == (0.0, 1.0):
        repeats = [axis.size_out if i == axis.index else 1 for i in range(len(shape_of(data)))]
        return relax.op.tile(data, repeats)
    matrix = _matrix(axis, attr)
    rank = len(shape_of(data))
    order = [*(i for i in range(rank) if i != axis.index), axis.index]
    last = axis.index == rank - 1
    moved = data if last else bb.emit(relax.op.permute_dims(data, order))
    product = relax.op.matmul(moved, constant_like(data, matrix))
    return product if last else relax.op.permute_dims(bb.emit(product), list(np.argsort(order)))


def _nearest(axis: _Axis, attr: dict[str, Any]) -> np.ndarray:
    """Return the (size_out,) int64 indices that nearest-neighbour resizing reads.

    In single precision, as ONNX Runtime computes: whether 3 / 0.6 floors to 4 or 5 hangs on it.
    """
    place = np.arange(axis.size_out, dtype=np.float32)
    scale, half = np.float32(axis.scale), np.float32(0.5)
    transform = attr.get("coordinate_transformation_mode", b"half_pixel").decode()
    if transform == "asymmetric":
        source = place / scale
    elif transform == "half_pixel" or (transform == "pytorch_half_pixel" and axis.size_out > 1):
        source = (place + half) / scale - half
    elif transform == "pytorch_half_pixel":
        source = np.zeros_like(place)
    elif transform == "align_corners":
        source = place * np.float32(axis.size_in - 1) / np.float32(max(axis.size_out - 1, 1))
    else:
        return _matrix(axis, attr).argmax(0).astype("int64")
    roundings: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "round_prefer_floor": lambda x: np.ceil(x - half),
        "round_prefer_ceil": lambda x: np.floor(x + half),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    rounding = roundings[attr.get("nearest_mode", b"round_prefer_floor").decode()]
    return np.clip(rounding(source), 0, axis.size_in - 1).astype("int64")


def _matrix(axis: _Axis, attr: dict[str, Any]) -> np.ndarray:
    """Return the (size_in, size_out) matrix that resizes along one axis: resize the identity."""
    if axis.size_in * axis.size_out > RESIZE_ELEMENTS:
        raise ValueError(
            f"resizing an axis of {axis.size_in} to {axis.size_out} in this mode takes a matrix of "
            f"more than {RESIZE_ELEMENTS:,} elements, which is the limit"
        )
    # A scale of single precision may miss the size that it was computed from by a last bit, and
    # the reference aligns corners with the size before rounding, ONNX Runtime with the whole one:
    # then the sizes say what the scale is.
    corners = attr.get("coordinate_transformation_mode") == b"align_corners"
    exact = abs(axis.size_in * axis.scale - axis.size_out) < 1e-5 * axis.size_out
    by_sizes = axis.region == (0.0, 1.0) and (corners or exact)
    kept = ("coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside", "mode",
            "nearest_mode", "antialias")  # fmt: skip
    node = onnx.helper.make_node(
        "Resize",
        ["x", "roi", "", "sizes"] if by_sizes else ["x", "roi", "scales"],
        ["y"],
        axes=[1],
        **{name: attr[name] for name in kept if name in attr},
    )
    graph = onnx.helper.make_graph(
        [node],
        "resize",
        [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in ("x", "roi", "scales")
        ]
        + [onnx.helper.make_tensor_value_info("sizes", onnx.TensorProto.INT64, None)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)])
    feeds = {
        "x": np.eye(axis.size_in, dtype=np.float32),
        "roi": np.array(axis.region, np.float32),
        "scales": np.array([axis.scale], np.float32),
        "sizes": np.array([axis.size_out], np.int64),
    }
    (matrix,) = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    # Each column depends on its own place only; the reference rounds the size in double precision.
    if matrix.shape[1] < axis.size_out:
        raise ValueError(f"a scale of {axis.scale} does not give {axis.size_out} elements")
    return np.asarray(matrix[:, : axis.size_out], np.float32)
