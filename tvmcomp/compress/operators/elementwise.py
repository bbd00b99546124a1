"""Operators that compute each element by itself."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from tvmcomp.compress.operators.table import (
    OPERATORS,
    Node,
    Operator,
    Tensor,
    operator,
    torch_dtype,
)

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "Asin": torch.asin,
    "Asinh": torch.asinh, "Atan": torch.atan, "Atanh": torch.atanh, "Ceil": torch.ceil,
    "Cos": torch.cos, "Cosh": torch.cosh, "Erf": torch.erf, "Exp": torch.exp,
    "Floor": torch.floor, "Identity": lambda x: x, "IsNaN": torch.isnan, "Log": torch.log,
    "Mish": F.mish, "Neg": torch.neg, "Not": torch.logical_not, "Reciprocal": torch.reciprocal,
    "Relu": torch.relu, "Round": torch.round, "Sigmoid": torch.sigmoid, "Sign": torch.sign,
    "Sin": torch.sin, "Sinh": torch.sinh, "Softplus": lambda x: F.softplus(x, threshold=80),
    "Softsign": F.softsign, "Sqrt": torch.sqrt, "Tan": torch.tan, "Tanh": torch.tanh,
    "BitwiseNot": torch.bitwise_not,
    "HardSwish": F.hardswish,
}  # fmt: skip
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul,
    "And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor,
    "BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Equal": torch.eq, "Greater": torch.gt, "GreaterOrEqual": torch.ge, "Less": torch.lt,
    "LessOrEqual": torch.le,
}  # fmt: skip


def _enter() -> None:
    def unary(function: Callable[[Tensor], Tensor]) -> Operator:
        return Operator(lambda _node, x: function(x), frozenset())

    def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
        return Operator(lambda _node, a, b: function(a, b), frozenset())

    OPERATORS.update({name: unary(function) for name, function in _UNARY.items()})
    OPERATORS.update({name: binary(function) for name, function in _BINARY.items()})


_enter()


@operator("Div")
def _div(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator("Pow")
def _pow(_node: Node, base: Tensor, exponent: Tensor) -> Tensor:
    return torch.pow(base, exponent).to(base.dtype)


@operator("Mod")
def _mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node["fmod"] else torch.remainder(a, b)


@operator("BitShift")
def _bit_shift(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return a << b if node["direction"] == "LEFT" else a >> b


@operator("Max")
def _max(_node: Node, *inputs: Tensor) -> Tensor:
    return functools.reduce(torch.maximum, inputs)


@operator("Min")
def _min(_node: Node, *inputs: Tensor) -> Tensor:
    return functools.reduce(torch.minimum, inputs)


@operator("Sum")
def _sum(_node: Node, *inputs: Tensor) -> Tensor:
    return functools.reduce(torch.add, inputs)


@operator("Mean")
def _mean(_node: Node, *inputs: Tensor) -> Tensor:
    return functools.reduce(torch.add, inputs) / len(inputs)


@operator("Clip", settings=(1, 2))
def _clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if node.opset < 11:
        return torch.clamp(x, node.get("min"), node.get("max"))
    low = None if low is None else low.reshape(())
    high = None if high is None else high.reshape(())
    if low is None and high is None:
        return x
    least, most = _number(low), _number(high)
    if x.is_floating_point() and least is not None and most is not None and least <= most:
        return F.hardtanh(x, least, most)  # its gradient takes one pass, not four
    return torch.clamp(x, low, high)


def _number(value: Tensor | None) -> float | None:
    """A bound as a number; None of one that is learned, or another for each sample."""
    if value is None or value.requires_grad:
        return None
    try:
        return float(value)
    except RuntimeError:  # vmap's
        return None


@operator("IsInf")
def _is_inf(node: Node, x: Tensor) -> Tensor:
    infinite = torch.isinf(x)
    if not node["detect_negative"]:
        infinite = infinite & (x > 0)
    if not node["detect_positive"]:
        infinite = infinite & (x < 0)
    return infinite


@operator("Elu")
def _elu(node: Node, x: Tensor) -> Tensor:
    return F.elu(x, node["alpha"])


@operator("Selu")
def _selu(node: Node, x: Tensor) -> Tensor:
    return node["gamma"] * F.elu(x, node["alpha"])


@operator("LeakyRelu")
def _leaky_relu(node: Node, x: Tensor) -> Tensor:
    return F.leaky_relu(x, node["alpha"])


@operator("ThresholdedRelu")
def _thresholded_relu(node: Node, x: Tensor) -> Tensor:
    return torch.where(x > node["alpha"], x, 0)


@operator("PRelu")
def _prelu(_node: Node, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


#: What rounding to float32 makes of 1 / 6.
_SAME = 1e-7


@operator("HardSigmoid")
def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    if abs(node["alpha"] - 1 / 6) < _SAME and node["beta"] == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(node["alpha"] * x + node["beta"], 0, 1)


@operator("Gelu", "com.microsoft.Gelu")
def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node.get("approximate", "none"))


@operator("com.microsoft.FastGelu")
def _fast_gelu(_node: Node, x: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("com.microsoft.BiasGelu")
def _bias_gelu(_node: Node, x: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(x + bias)


@operator("Swish", "com.microsoft.QuickGelu")
def _swish(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(node.get("alpha", 1.702) * x)


@operator("Shrink")
def _shrink(node: Node, x: Tensor) -> Tensor:
    bias, edge = node["bias"], node["lambd"]
    return torch.where(x < -edge, x + bias, torch.where(x > edge, x - bias, 0)).to(x.dtype)


@operator("Where")
def _where(_node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


@operator("Cast")
def _cast(node: Node, x: Tensor) -> Tensor:
    return x.to(torch_dtype(node["to"]))


@operator("CastLike")
def _cast_like(_node: Node, x: Tensor, other: Tensor) -> Tensor:
    return x.to(other.dtype)


@operator("Dropout", settings=(1, 2))
def _dropout(_node: Node, x: Tensor, *_settings: Tensor) -> tuple[Tensor, Tensor]:
    """Of a network in use: nothing is dropped."""
    return x, torch.ones_like(x, dtype=torch.bool)


def _hardmax(x: Tensor, axis: int) -> Tensor:
    first = torch.argmax(x, axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, first, 1.0)


_ALONG: dict[str, Callable[[Tensor, int], Tensor]] = {
    "Softmax": lambda x, axis: F.softmax(x, axis),
    "LogSoftmax": lambda x, axis: F.log_softmax(x, axis),
    "Hardmax": _hardmax,
}


@operator(*_ALONG)
def _softmax(node: Node, x: Tensor) -> Tensor:
    axis = node["axis"]
    if node.opset >= 13:
        return _ALONG[node.operator](x, axis)
    axis %= max(x.ndim, 1)  # before set 13, over all axes from there on as one
    rows = x.reshape(math.prod(x.shape[:axis]), -1)
    return _ALONG[node.operator](rows, 1).reshape(x.shape)
