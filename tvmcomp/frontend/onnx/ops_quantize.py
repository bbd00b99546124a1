"""Our converters of QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear.

One scale, or one along an axis, becomes ``relax.quantize`` or ``relax.dequantize`` in float32,
which `realize` reads. What has a scale for each block, or of another type, is arithmetic; weights
of that kind are dequantized here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.narrow import NARROW, NarrowInteger, cast_to_narrow
from tvmcomp.frontend.onnx.values import array_of, constant, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax

#: What a tensor can be quantized to.
_INTEGERS = ("int8", "uint8", "int16", "uint16")
#: What can be dequantized.
_SOURCES = (*_INTEGERS, "int32")


class QuantizeLinear(Converter):
    """QuantizeLinear to 8 or 16 bits, or to a narrow type in what holds it."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, scale, zero = inputs[0], inputs[1], inputs[2]
        if attr.get("output_dtype", 0) in NARROW:
            return cls._narrow(bb, data, scale, zero, attr)
        dtype = "uint8" if zero is None else dtype_of(zero)
        if attr.get("output_dtype", 0):
            dtype = str(onnx.helper.tensor_dtype_to_np_dtype(attr["output_dtype"]))
        if dtype not in _INTEGERS:
            raise ValueError(f"it quantizes to {dtype}; {', '.join(_INTEGERS)} are supported")
        zero = relax.const(0, dtype) if zero is None else zero
        data, scale = _cast(bb, data, "float32"), _cast(bb, scale, "float32")
        axis = _axis(data, scale, attr)
        if attr.get("block_size", 0) or dtype_of(zero) != dtype:
            zero = _cast(bb, _spread(bb, zero, data, axis, attr), "float32")
            scale = _spread(bb, scale, data, axis, attr)
            return _rounded(bb, data, scale, zero, dtype)
        return relax.op.quantize(data, _lone(bb, scale), _lone(bb, zero), axis, dtype)

    @staticmethod
    def _narrow(bb: Builder, data: Expr, scale: Expr, zero: Any, attr: dict[str, Any]) -> Expr:
        element_type = attr["output_dtype"]
        kind = NARROW[element_type]
        data, scale = _cast(bb, data, "float32"), _cast(bb, scale, "float32")
        axis = _axis(data, scale, attr)
        zero = relax.const(0, kind.held) if zero is None else zero
        zero = _cast(bb, _spread(bb, zero, data, axis, attr), "float32")
        scale = _spread(bb, scale, data, axis, attr)
        if isinstance(kind, NarrowInteger):
            return _rounded(bb, data, scale, zero, kind.held, kind.limits)
        quotient = bb.emit(relax.op.add(relax.op.divide(data, scale), zero))
        return cast_to_narrow(bb, quotient, element_type, attr)


class DequantizeLinear(Converter):
    """DequantizeLinear of 8, 16 or 32 bits, and of a narrow type in what holds it."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, scale, zero = inputs[0], inputs[1], inputs[2]
        source, dtype = dtype_of(data), dtype_of(scale)
        if source == "float32":  # it holds floats of 4 or 8 bits
            return cls._of_floats(bb, inputs, attr)
        if source not in _SOURCES:
            raise ValueError(f"it dequantizes {source}; {', '.join(_SOURCES)} are supported")
        if attr.get("output_dtype", 0):
            dtype = str(onnx.helper.tensor_dtype_to_np_dtype(attr["output_dtype"]))
        zero = relax.const(0, source) if zero is None else zero
        if not attr.get("block_size", 0):
            scale, zero = _flat(bb, scale), _flat(bb, zero)
        axis = _axis(data, scale, attr)
        blocked = bool(attr.get("block_size", 0))
        if blocked or dtype != "float32":
            values, scales, zeros = (array_of(value) for value in (data, scale, zero))
            if values is not None and scales is not None and zeros is not None:
                factor = _spread_array(scales, shape_of(data), axis, attr).astype("float64")
                shift = _spread_array(zeros, shape_of(data), axis, attr).astype("float64")
                return constant(((values.astype("float64") - shift) * factor).astype(dtype))
        if blocked:
            difference = relax.op.subtract(
                _cast(bb, data, "float32"),
                _cast(bb, _spread(bb, zero, data, axis, attr), "float32"),
            )
            factor = _cast(bb, _spread(bb, scale, data, axis, attr), "float32")
            return _cast(bb, bb.emit(relax.op.multiply(difference, factor)), dtype)
        scale = _lone(bb, _cast(bb, scale, "float32"))
        data, zero = _from_zero(data, zero, axis)
        real = relax.op.dequantize(data, scale, _lone(bb, zero), axis, "float32")
        return real if dtype == "float32" else relax.op.astype(real, dtype)

    @staticmethod
    def _of_floats(bb: Builder, inputs: Inputs, attr: dict[str, Any]) -> Expr:
        data, scale, zero = inputs[0], inputs[1], inputs[2]
        dtype = dtype_of(scale)
        if attr.get("output_dtype", 0):
            dtype = str(onnx.helper.tensor_dtype_to_np_dtype(attr["output_dtype"]))
        axis = _axis(data, scale, attr)
        if zero is not None:
            data = bb.emit(relax.op.subtract(data, _spread(bb, zero, data, axis, attr)))
        factor = _cast(bb, _spread(bb, scale, data, axis, attr), "float32")
        return _cast(bb, bb.emit(relax.op.multiply(data, factor)), dtype)


class DynamicQuantizeLinear(Converter):
    """DynamicQuantizeLinear, to uint8; the range, found once, holds 0, and a range of nothing has
    the scale 1, as with ONNX Runtime."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        zero, one, steps = (relax.const(number, "float32") for number in (0, 1, 255))
        high = bb.emit(relax.op.maximum(zero, relax.op.max(data)))
        low = bb.emit(relax.op.minimum(zero, relax.op.min(data)))
        step = relax.op.divide(relax.op.subtract(high, low), steps)
        scale = bb.emit(relax.op.where(relax.op.equal(high, low), one, step))
        place = relax.op.round(
            relax.op.clip(relax.op.divide(relax.op.negative(low), scale), 0, 255)
        )
        zero_point = bb.emit(relax.op.astype(place, "uint8"))
        quantized = relax.op.quantize(data, scale, zero_point, axis=0, out_dtype="uint8")
        return relax.Tuple([bb.emit(quantized), scale, zero_point])


def _rounded(
    bb: Builder,
    data: Expr,
    scale: Expr,
    zero: Any,
    dtype: str,
    limits: tuple[int, int] | None = None,
) -> Expr:
    """``data / scale`` rounded half to even, plus ``zero``, kept within ``dtype`` or ``limits``;
    all float32."""
    low, high = limits or (np.iinfo(dtype).min, np.iinfo(dtype).max)
    steps = bb.emit(relax.op.add(relax.op.round(relax.op.divide(data, scale)), zero))
    bounds = (tvm.tirx.const(value, "float32") for value in (low, high))
    return relax.op.astype(relax.op.clip(steps, *bounds), dtype)


def _from_zero(data: Expr, zero: Any, axis: int) -> tuple[Any, Any]:
    """Constant data of 8 bits less its zero points, and zeros, where int8 holds that.

    Unsigned weights of 4 bits are weights around 0 whatever their zero point is.
    """
    values, zeros = array_of(data), array_of(zero)
    if values is None or zeros is None or dtype_of(data) not in ("int8", "uint8"):
        return data, zero
    steps = values.astype("int16") - _spread_array(zeros, shape_of(data), axis, {}).astype("int16")
    limits = np.iinfo("int8")
    if steps.min(initial=0) < limits.min or steps.max(initial=0) > limits.max:
        return data, zero
    return constant(steps.astype("int8")), constant(np.zeros(zeros.shape, "int8"))


def _axis(data: Expr, scale: Expr, attr: dict[str, Any]) -> int:
    """The axis that the scales lie along; 0 where there is one scale."""
    shape, scales = shape_of(data), shape_of(scale)
    if all(size == 1 for size in scales):
        return 0
    axis = attr.get("axis", 1)
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"its axis {axis} is not among the {len(shape)} of its data")
    axis %= len(shape)
    block = attr.get("block_size", 0)
    if block:
        wanted = [-(-size // block) if i == axis else size for i, size in enumerate(shape)]
    else:
        wanted = [shape[axis]]
    if scales != wanted:
        raise ValueError(f"its scales are {scales}, not {wanted}, for data of {shape}")
    return axis


def _cast(bb: Builder, expr: Expr, dtype: str) -> Expr:
    if dtype_of(expr) == dtype:
        return expr
    array = array_of(expr)
    return (
        constant(array.astype(dtype))
        if array is not None
        else bb.emit(relax.op.astype(expr, dtype))
    )


def _lone(bb: Builder, expr: Expr) -> Expr:
    """One scale in the shape of a scalar."""
    shape = shape_of(expr)
    if not shape or max(shape) > 1:
        return expr
    array = array_of(expr)
    return constant(array.reshape(())) if array is not None else bb.emit(relax.op.reshape(expr, ()))


def _flat(bb: Builder, expr: Expr) -> Expr:
    """Scales of several dimensions, of which one alone is above 1, as NNCF writes them, as a
    vector."""
    shape = shape_of(expr)
    if len(shape) < 2 or sum(size > 1 for size in shape) > 1:
        return expr
    array = array_of(expr)
    return constant(array.reshape(-1)) if array is not None else bb.emit(relax.op.reshape(expr, -1))


def _spread(bb: Builder, expr: Expr, data: Expr, axis: int, attr: dict[str, Any]) -> Expr:
    """Scales or zero points in a shape that broadcasts with ``data``."""
    array = array_of(expr)
    if array is not None:
        return constant(_spread_array(array, shape_of(data), axis, attr))
    shape, block = shape_of(data), attr.get("block_size", 0)
    if all(size == 1 for size in shape_of(expr)):
        return expr
    if not block:
        return bb.emit(relax.op.reshape(expr, _along(shape, axis)))
    repeated = bb.emit(relax.op.repeat(expr, block, axis))
    return bb.emit(relax.op.strided_slice(repeated, [axis], [0], [shape[axis]]))


def _spread_array(
    array: np.ndarray, shape: list[int], axis: int, attr: dict[str, Any]
) -> np.ndarray:
    if array.size == 1:
        return array.reshape(())
    if attr.get("block_size", 0):
        return np.repeat(array, attr["block_size"], axis).take(range(shape[axis]), axis)
    return array.reshape(_along(shape, axis))


def _along(shape: list[int], axis: int) -> list[int]:
    return [size if i == axis else 1 for i, size in enumerate(shape)]


#: ONNX operator -> converter.
QUANTIZE = {
    "DequantizeLinear": DequantizeLinear,
    "DynamicQuantizeLinear": DynamicQuantizeLinear,
    "QuantizeLinear": QuantizeLinear,
}
