"""Averages of 8-bit tensors: summed up in int32, divided by way of the scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import const, op_name, shape_of
from tvmcomp.qparams import QParams
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Attributes, Call, Expr

relax = tvm.relax
Emit = Callable[[Any, str], Any]
#: So many 8-bit values add up in an int32.
_MOST_VALUES = 2**31 // 256
_KERNEL_LAYOUT = {"NWC": "OWI", "NHWC": "OHWI"}


def integer_average(
    emit: Emit, integers: Any, params: QParams, result: Expr, call: Call
) -> Expr | None:
    """The average ``call`` of a quantized tensor, as float32.

    Args:
        emit: binds an expression to a name.
        integers: the 8-bit tensor, channels last.
        params: what its integers mean.
        result: the variable that the float network binds ``call`` to.
        call: ``mean``, or ``nn.avg_pool1d`` or ``2d``.

    Returns:
        The result, or None where it is better done in float.
    """
    if op_name(call) == "mean":
        return _mean(emit, integers, params, call, result.name)
    return _average_pool(emit, integers, params, result, call)


def _mean(emit: Emit, integers: Any, params: QParams, call: Call, name: str) -> Expr | None:
    if call.attrs.axis is None:
        return None
    shape = shape_of(integers)
    axes = [int(axis) % len(shape) for axis in call.attrs.axis]
    count = int(np.prod([shape[axis] for axis in axes]))
    if count > _MOST_VALUES:
        return None
    wide = emit(relax.op.astype(integers, "int32"), f"{name}_wide")
    total = emit(relax.op.sum(wide, axes, call.attrs.keepdims), f"{name}_sum")
    return emit(_real(total, params, count, count), name)


def _average_pool(
    emit: Emit, integers: Any, params: QParams, result: Expr, call: Call
) -> Expr | None:
    """A depthwise convolution with ones: padded with the zero point, so that padding adds 0."""
    attrs, name = call.attrs, result.name
    kernel_layout = _KERNEL_LAYOUT.get(str(attrs.layout))
    if kernel_layout is None:
        return None
    channels = shape_of(integers)[-1]
    window = [int(size) for size in attrs.pool_size]
    count = int(np.prod(window))
    flat = [int(p) for p in attrs.padding]
    rank = len(window)
    pairs = list(zip(flat[:rank], flat[rank:], strict=True))
    width = [0, 0, *(size for pair in pairs for size in pair), 0, 0]
    convolve = getattr(relax.op.nn, f"conv{rank}d")

    def sums(data: Expr, depth: int, dtype: str, fill: int) -> Expr:
        padded = relax.op.nn.pad(data, width, pad_value=fill) if any(flat) else data
        ones = const(np.ones((depth, *window, 1), dtype))
        return convolve(
            emit(padded, f"{name}_pad"),
            ones,
            strides=attrs.strides,
            dilation=attrs.dilation,
            groups=depth,
            data_layout=attrs.layout,
            kernel_layout=kernel_layout,
            out_dtype="int32",
        )

    total = emit(sums(integers, channels, "int8", int(params.zero_point)), f"{name}_sum")
    if shape_of(total) != shape_of(result):
        return None  # ceil_mode: the last windows reach beyond the padding.
    if attrs.count_include_pad or not any(flat):
        return emit(_real(total, params, count, count), name)
    share = const(1 / _inside(shape_of(integers)[1:-1], pairs, shape_of(result)[1:-1], attrs))
    return emit(
        relax.op.multiply(emit(_real(total, params, count, 1), f"{name}_total"), share), name
    )


def _inside(
    spatial: tuple[int, ...],
    padding: list[tuple[int, int]],
    extents: tuple[int, ...],
    attrs: Attributes,
) -> np.ndarray:
    """How many elements of each window are no padding: float32 ``[1, *extents, 1]``."""
    ones = np.pad(np.ones(spatial, np.float32), padding)
    inside = np.zeros(extents, np.float32)
    for tap in np.ndindex(*(int(size) for size in attrs.pool_size)):
        geometry = zip(tap, attrs.dilation, extents, attrs.strides, strict=True)
        at = tuple(
            slice(t * int(dil), t * int(dil) + (extent - 1) * int(stride) + 1, int(stride))
            for t, dil, extent, stride in geometry
        )
        inside += ones[at]
    return inside.reshape(1, *extents, 1)


def _real(total: Any, params: QParams, count: int, divisor: int) -> Any:
    """The sum of ``count`` integers as a real number, divided by ``divisor``."""
    scale = const(np.asarray(float(params.scale) / divisor, np.float32))
    zero_point = const(np.asarray(int(params.zero_point) * count, np.int32))
    return relax.op.dequantize(total, scale, zero_point, -1)
