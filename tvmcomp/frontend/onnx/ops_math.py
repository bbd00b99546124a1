"""Our converters of functions that TVM does not have in every type, and of odd cases of others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class _InFloat32(Converter):
    """A function that TVM has in single precision and above: half precision goes through it."""

    function: Callable[[Any], Any]

    @classmethod
    def _impl_v7(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        if dtype_of(data) in ("float16", "bfloat16"):
            wide = bb.emit(relax.op.astype(data, "float32"))
            return relax.op.astype(bb.emit(cls._of(bb, wide)), dtype_of(data))
        return cls._of(bb, data)

    @classmethod
    def _of(cls, bb: Builder, data: Expr) -> Expr:
        """The function of ``data``, float32 or float64."""
        return cls.function(data)


class Acos(_InFloat32):
    """Acos."""

    function = relax.op.acos


class Acosh(_InFloat32):
    """Acosh."""

    function = relax.op.acosh


class Asin(_InFloat32):
    """Asin."""

    function = relax.op.asin


class Asinh(_InFloat32):
    """Asinh."""

    function = relax.op.asinh


class Atan(_InFloat32):
    """Atan."""

    function = relax.op.atan


class Atanh(_InFloat32):
    """Atanh."""

    function = relax.op.atanh


class Tan(_InFloat32):
    """Tan."""

    function = relax.op.tan


class Cosh(_InFloat32):
    """Cosh: the mean of two exponentials."""

    @classmethod
    def _of(cls, bb: Builder, data: Expr) -> Expr:
        half = constant_like(data, 0.5)
        # exp(x) / 2 would overflow where cosh doesn't yet.
        large = bb.emit(relax.op.exp(relax.op.multiply(relax.op.abs(data), half)))
        grown = relax.op.multiply(relax.op.multiply(large, half), large)
        shrunk = relax.op.divide(half, relax.op.multiply(large, large))
        return relax.op.add(grown, shrunk)


class Sinh(_InFloat32):
    """Sinh: half the difference of two exponentials; near zero, where these cancel, its series."""

    @classmethod
    def _of(cls, bb: Builder, data: Expr) -> Expr:
        half = constant_like(data, 0.5)
        size = bb.emit(relax.op.abs(data))
        large = bb.emit(relax.op.exp(relax.op.multiply(size, half)))
        grown = relax.op.multiply(relax.op.multiply(large, half), large)
        far = relax.op.subtract(grown, relax.op.divide(half, relax.op.multiply(large, large)))
        far = bb.emit(relax.op.multiply(far, relax.op.sign(data)))
        square = bb.emit(relax.op.multiply(data, data))
        terms = 9 if dtype_of(data) == "float64" else 5
        series: Any = constant_like(data, 1)
        for k in reversed(range(1, terms)):
            factor = constant_like(data, 1 / (2 * k * (2 * k + 1)))
            scaled = relax.op.multiply(relax.op.multiply(square, factor), series)
            series = bb.emit(relax.op.add(scaled, constant_like(data, 1)))
        near = relax.op.less(size, constant_like(data, 1))
        return relax.op.where(near, relax.op.multiply(data, series), far)


class Sign(Converter):
    """Sign."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        if dtype_of(data).startswith("uint"):
            return relax.op.minimum(data, constant_like(data, 1))
        return relax.op.sign(data)


class Shrink(Converter):
    """Shrink; of integers computed in floats and rounded toward zero."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, dtype = inputs[0], dtype_of(inputs[0])
        integers = "int" in dtype
        if integers:
            wide = "float64" if dtype[-2:] in ("32", "64") else "float32"
            data = bb.emit(relax.op.astype(data, wide))
        limit = attr.get("lambd", 0.5)
        bias = constant_like(data, attr.get("bias", 0.0))
        zero = constant_like(data, np.zeros([1] * len(shape_of(data))))
        above = relax.op.greater(data, constant_like(data, limit))
        below = relax.op.less(data, constant_like(data, -limit))
        raised = relax.op.where(below, relax.op.add(data, bias), zero)
        result = relax.op.where(above, relax.op.subtract(data, bias), raised)
        return relax.op.astype(bb.emit(result), dtype) if integers else result


class Gelu(Converter):
    """Gelu, exact or with a hyperbolic tangent."""

    @classmethod
    def _impl_v20(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        exact = attr.get("approximate", b"none") == b"none"
        if dtype_of(data) != "float64":
            return relax.op.nn.gelu(data) if exact else relax.op.nn.gelu_tanh(data)
        # TVM's constants are of single precision.
        half = relax.op.multiply(data, constant_like(data, 0.5))
        if exact:
            scaled = bb.emit(relax.op.multiply(data, constant_like(data, math.sqrt(0.5))))
            grown = relax.op.add(_erf_double(bb, scaled), constant_like(data, 1))
            return relax.op.multiply(half, grown)
        cube = relax.op.multiply(relax.op.multiply(data, data), data)
        inner = relax.op.add(data, relax.op.multiply(cube, constant_like(data, 0.044715)))
        scaled = relax.op.multiply(inner, constant_like(data, math.sqrt(2 / math.pi)))
        return relax.op.multiply(half, relax.op.add(relax.op.tanh(scaled), constant_like(data, 1)))


class Erf(Converter):
    """Erf; of integers, which the standard allows, rounded toward zero."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        if dtype_of(data) == "float64":
            return _erf_double(bb, data)
        if "float" in dtype_of(data):
            return relax.op.erf(data)
        wide = bb.emit(relax.op.astype(data, "float32"))
        return relax.op.astype(bb.emit(relax.op.erf(wide)), dtype_of(data))


def _erf_double(bb: Builder, data: Expr) -> Expr:
    """Erf by the C library: TVM's polynomial has the precision of float32."""

    def compute(x: Expr) -> Any:
        return tvm.te.compute(
            x.shape,
            lambda *i: tvm.tirx.call_pure_extern("float64", "erf", x[i]),
            name="erf",
        )

    return bb.emit_te(compute, data)


class PRelu(Converter):
    """PRelu: a slope an element, a channel, or one; integers allowed."""

    @classmethod
    def _impl_v7(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, slope = inputs[0], inputs[1]
        negative = relax.op.less(data, constant_like(data, 0))
        return relax.op.where(negative, relax.op.multiply(data, slope), data)


class Equal(Converter):
    """Equal; two booleans are where they do not differ."""

    @classmethod
    def _impl_v7(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        if dtype_of(inputs[0]) == "bool":
            return relax.op.logical_not(relax.op.logical_xor(inputs[0], inputs[1]))
        return relax.op.equal(inputs[0], inputs[1])


#: ONNX operator -> converter.
MATH = {
    "Acos": Acos,
    "Acosh": Acosh,
    "Asin": Asin,
    "Asinh": Asinh,
    "Atan": Atan,
    "Atanh": Atanh,
    "Cosh": Cosh,
    "Equal": Equal,
    "Erf": Erf,
    "Gelu": Gelu,
    "PRelu": PRelu,
    "Shrink": Shrink,
    "Sign": Sign,
    "Sinh": Sinh,
    "Tan": Tan,
}
