"""Our converters of pooling, with every border and every rounding of the number of windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.ops_nn import explicit_pads, per_dims
from tvmcomp.frontend.onnx.values import constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class _Pool(Converter):
    kind = ""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        shape = shape_of(inputs[0])
        window = _geometry(attr, shape)
        kernel, strides, pads = window.kernel, window.strides, window.pads
        dims, dilations = len(kernel), window.dilations
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        ceil_mode = bool(attr.get("ceil_mode", 0))
        if ceil_mode and all(
            (shape[2 + i] + pads[i] + pads[dims + i] - extents[i]) % strides[i] == 0
            for i in range(dims)
        ):
            ceil_mode = False
        return per_dims(f"{cls.kind}_pool{{}}d", dims)(
            inputs[0],
            kernel,
            strides,
            pads,
            dilations,
            ceil_mode=ceil_mode,
            count_include_pad=bool(attr.get("count_include_pad", 0)),
        )


class MaxPool(_Pool):
    """MaxPool, and where in the whole tensor the largest elements were."""

    kind = "max"

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, dtype = inputs[0], dtype_of(inputs[0])
        if attr["tvm_custom"]["num_outputs"] == 1:
            return super()._impl_v1(bb, inputs, attr, params)
        pooled = bb.emit(super()._impl_v1(bb, inputs, attr, params))
        geometry = _geometry(attr, shape_of(data))
        column_major = bool(attr.get("storage_order", 0))
        lowest = tvm.tirx.min_value(dtype)

        def places(x: Expr) -> Any:
            return _places(x, shape_of(pooled), geometry, lowest, column_major)

        found = bb.emit_te(places, data)
        return relax.Tuple([pooled, relax.TupleGetItem(found, 0)])


@dataclass(frozen=True)
class _Geometry:
    """A window: sizes, steps, distances between its elements, and the border before the image."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]


def _geometry(attr: dict[str, Any], shape: list[int]) -> _Geometry:
    kernel = list(attr["kernel_shape"])
    strides = list(attr.get("strides", [1] * len(kernel)))
    dilations = list(attr.get("dilations", [1] * len(kernel)))
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return _Geometry(kernel, strides, dilations, explicit_pads(attr, shape[2:], extents, strides))


def _places(
    x: Expr, shape: list[int], geometry: _Geometry, lowest: Any, column_major: bool
) -> tuple[Any, Any]:
    """Where in ``x`` (N, C, …) the largest of each window lies, counted through all of it, and the
    largest itself; the first of equals."""
    te, tirx = tvm.te, tvm.tirx
    window = [te.reduce_axis((0, size), f"k{i}") for i, size in enumerate(geometry.kernel)]
    image = [int(size) for size in x.shape[2:]]

    def larger(left: Expr, right: Expr) -> tuple[Any, Any]:
        keep = tirx.any(left[1] > right[1], tirx.all(left[1] == right[1], left[0] <= right[0]))
        return tirx.Select(keep, left[0], right[0]), tirx.Select(keep, left[1], right[1])

    def none(index_type: Any, _value_type: Any) -> tuple[Any, Any]:
        return tirx.max_value(str(index_type)), lowest

    largest = te.comm_reducer(larger, none, name="largest")

    def at(n: Any, c: Any, *i: Any) -> Any:
        spots = [
            i[d] * geometry.strides[d] + window[d] * geometry.dilations[d] - geometry.pads[d]
            for d in range(len(window))
        ]
        inside = tirx.all(
            *(tirx.all(s >= 0, s < size) for s, size in zip(spots, image, strict=True))
        )
        count = tirx.Cast("int64", n * x.shape[1] + c)
        axes = range(len(spots))
        for d in reversed(axes) if column_major else axes:
            count = count * image[d] + tirx.Cast("int64", spots[d])
        value = te.if_then_else(inside, x(n, c, *spots), lowest)
        count = tirx.Select(inside, count, tirx.max_value("int64"))
        return largest((count, value), axis=window)

    return te.compute(shape, at, name="places")


class AveragePool(_Pool):
    """AveragePool."""

    kind = "avg"


class LpPool(Converter):
    """LpPool: the p-th root of the sum of p-th powers; the border counts as zeros."""

    @classmethod
    def _impl_v2(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, shape = inputs[0], shape_of(inputs[0])
        window = _geometry(attr, shape)
        kernel, strides, pads = window.kernel, window.strides, list(window.pads)
        dims, dilations = len(kernel), window.dilations
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        if attr.get("ceil_mode", 0):
            for i in range(dims):
                size = shape[2 + i] + pads[i]
                last = -(-(size + pads[dims + i] - extents[i]) // strides[i]) * strides[i]
                if last < size:  # a window that began in the border behind would not count
                    pads[dims + i] = max(pads[dims + i], last + extents[i] - size)
        p = attr.get("p", 2)
        wide = data if dtype_of(data) == "float64" else bb.emit(relax.op.astype(data, "float32"))
        powers = bb.emit(_power(relax.op.abs(wide), p))
        widths = [pads[axis + half * dims] for axis in range(dims) for half in (0, 1)]
        padded = bb.emit(relax.op.nn.pad(powers, [0, 0, 0, 0, *widths])) if any(pads) else powers
        pool = per_dims("avg_pool{}d", dims)
        mean = bb.emit(pool(padded, kernel, strides, [0] * 2 * dims, dilations))
        total = relax.op.multiply(mean, constant_like(mean, math.prod(kernel)))
        root = total if p == 1 else relax.op.power(total, constant_like(mean, 1 / p))
        return root if dtype_of(wide) == dtype_of(data) else relax.op.astype(root, dtype_of(data))


def _power(data: Expr, p: int) -> Any:
    result = data
    for _ in range(p - 1):
        result = relax.op.multiply(result, data)
    return result


#: ONNX operator -> converter.
POOL = {"AveragePool": AveragePool, "LpPool": LpPool, "MaxPool": MaxPool}
