"""Our converters of elementwise operators: as Relax operators of one tensor and scalars."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.powers import power_by
from tvmcomp.frontend.onnx.values import array_of, constant, constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class Clip(Converter):
    """Clip: relax.clip, nn.relu or one of maximum and minimum, by the bounds that it has."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        low, high = attr.get("min"), attr.get("max")
        return cls._clip(
            inputs[0],
            None if low is None else constant_like(inputs[0], low),
            None if high is None else constant_like(inputs[0], high),
        )

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return cls._clip(inputs[0], inputs[1], inputs[2])

    @classmethod
    def _clip(cls, data: Expr, low: Any, high: Any) -> Any:
        # Exporters write "no bound" as the largest number as well.
        low = None if cls._is_unbounded(low) else low
        high = None if cls._is_unbounded(high) else high
        low_array, high_array = array_of(low), array_of(high)
        if low_array is not None and high_array is not None:
            # Where the bounds cross, the upper one wins.
            lower = min(low_array.item(), high_array.item())
            return relax.op.clip(data, *_bounds(data, lower, high_array.item()))
        if high is None and low_array is not None and low_array == 0 and _is_float(data):
            return relax.op.nn.relu(data)
        if low is not None:
            data = relax.op.maximum(data, low)
        return data if high is None else relax.op.minimum(data, high)

    @staticmethod
    def _is_unbounded(bound: Any) -> bool:
        array = array_of(bound)
        if bound is None or array is None or not _is_float(bound):
            return bound is None
        largest = np.finfo(np.float32).max if array.dtype != np.float16 else np.float16(65504)
        return bool(np.isnan(array) or np.abs(array) >= largest)


def _bounds(data: Expr, low: float, high: float) -> tuple[Any, Any]:
    dtype = dtype_of(data)
    return tvm.tirx.const(low, dtype), tvm.tirx.const(high, dtype)


def _is_float(expr: Expr) -> bool:
    return "float" in dtype_of(expr)


class _Variadic(Converter):
    """An operator of any number of tensors that broadcast, applied pair by pair."""

    pairwise: Callable[[Any, Any], Any]

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return functools.reduce(lambda a, b: cls.pairwise(a, b), list(inputs))


class Max(_Variadic):
    """Max."""

    pairwise = relax.op.maximum


class Min(_Variadic):
    """Min."""

    pairwise = relax.op.minimum


class Sum(_Variadic):
    """Sum."""

    pairwise = relax.op.add


class Mean(_Variadic):
    """Mean."""

    pairwise = relax.op.add

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        total = super()._impl_v1(bb, inputs, attr, params)
        return relax.op.divide(total, constant_like(inputs[0], len(inputs)))


class Elu(Converter):
    """Elu and Selu: ``scale * (x if x > 0 else alpha * (exp(x) - 1))``."""

    defaults = (1.0, 1.0)

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        alpha, gamma = attr.get("alpha", cls.defaults[0]), attr.get("gamma", cls.defaults[1])
        # exp only of what is below zero: no overflow for large inputs.
        negative = relax.op.exp(relax.op.minimum(data, constant_like(data, 0)))
        negative = relax.op.multiply(
            relax.op.subtract(negative, constant_like(data, 1)), constant_like(data, alpha * gamma)
        )
        positive = relax.op.nn.relu(data)
        if gamma != 1:
            positive = relax.op.multiply(positive, constant_like(data, gamma))
        return relax.op.add(positive, negative)


class Selu(Elu):
    """Selu."""

    defaults = (1.67326319217681884765625, 1.05070102214813232421875)


class HardSwish(Converter):
    """HardSwish: ``x * clip(x + 3, 0, 6) / 6``, written as ``x * clip(x / 6 + 0.5, 0, 1)``."""

    @classmethod
    def _impl_v14(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return relax.op.multiply(inputs[0], _hard_sigmoid(inputs[0], 1 / 6, 0.5))


class HardSigmoid(Converter):
    """HardSigmoid: ``clip(alpha * x + beta, 0, 1)``."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return _hard_sigmoid(inputs[0], attr.get("alpha", 0.2), attr.get("beta", 0.5))


def _hard_sigmoid(data: Expr, alpha: float, beta: float) -> Any:
    scaled = relax.op.multiply(data, constant_like(data, alpha))
    return relax.op.clip(relax.op.add(scaled, constant_like(data, beta)), *_bounds(data, 0, 1))


class Mish(Converter):
    """Mish: ``x * tanh(softplus(x))``."""

    @classmethod
    def _impl_v18(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return relax.op.multiply(inputs[0], relax.op.tanh(_softplus(inputs[0])))


class Softplus(Converter):
    """Softplus, in the form that overflows for no input."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        return _softplus(inputs[0])


def _softplus(data: Expr) -> Any:
    decayed = relax.op.exp(relax.op.negative(relax.op.abs(data)))
    return relax.op.add(
        relax.op.nn.relu(data), relax.op.log(relax.op.add(decayed, constant_like(data, 1)))
    )


class ThresholdedRelu(Converter):
    """ThresholdedRelu: ``x if x > alpha else 0``."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        above = relax.op.greater(data, constant_like(data, attr.get("alpha", 1.0)))
        return relax.op.where(above, data, constant_like(data, np.zeros([1] * len(shape_of(data)))))


class Pow(Converter):
    """Pow."""

    @classmethod
    def _impl_v7(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, exponent = inputs[0], inputs[1]
        array = array_of(exponent)
        if array is not None and array.size == 1 and array.ndim <= len(shape_of(data)):
            simple = power_by(bb, data, float(array.item()), _is_float(data))
            if simple is not None:
                return simple
        dtype, floating = dtype_of(data), _is_float(exponent)
        wide = dtype if _is_float(data) else "float64"
        base = data if dtype == wide else relax.op.astype(data, wide)
        exponent = exponent if dtype_of(exponent) == wide else relax.op.astype(exponent, wide)
        power = relax.op.power(base, exponent)
        if dtype == wide:
            return power
        # A whole power may come out a little less than it is; any other is cut off.
        whole = power if floating else relax.op.round(power)
        return relax.op.astype(whole, dtype)


class IsInf(Converter):
    """IsInf, of either sign or of both."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        infinite = relax.op.isinf(data)
        positive, negative = attr.get("detect_positive", 1), attr.get("detect_negative", 1)
        if positive and negative:
            return infinite
        if not positive and not negative:
            return constant(np.zeros(shape_of(data), "bool"))
        compare = relax.op.greater if positive else relax.op.less
        return relax.op.logical_and(infinite, compare(data, constant_like(data, 0)))


class Swish(Converter):
    """Swish: ``x * sigmoid(alpha * x)``."""

    @classmethod
    def _impl_v24(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, alpha = inputs[0], attr.get("alpha", 1.0)
        if alpha == 1:
            return relax.op.nn.silu(data)
        scaled = relax.op.multiply(data, constant_like(data, alpha))
        return relax.op.multiply(data, relax.op.sigmoid(scaled))


#: ONNX operator -> converter.
ELEMENTWISE = {
    "Clip": Clip,
    "Elu": Elu,
    "HardSigmoid": HardSigmoid,
    "HardSwish": HardSwish,
    "IsInf": IsInf,
    "Max": Max,
    "Mean": Mean,
    "Min": Min,
    "Mish": Mish,
    "Pow": Pow,
    "Selu": Selu,
    "Softplus": Softplus,
    "Sum": Sum,
    "Swish": Swish,
    "ThresholdedRelu": ThresholdedRelu,
}
