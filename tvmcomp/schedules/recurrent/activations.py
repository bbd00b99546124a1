"""The activation functions of recurrent cells, on TIR expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvmcomp.recurrent import Activation
from tvmcomp.schedules.tir.vector_math import BOUNDED_EXP, TANH_OVER, TANH_UNDER
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx


def _number(value: float, like: PrimExpr) -> Any:
    return tirx.const(value, str(like.ty.dtype))


def _positive(x: PrimExpr) -> Any:
    return x >= _number(0, x)


def _softplus(x: PrimExpr, _a: Any, _b: Any) -> Any:
    # e^x alone would overflow.
    zero = _number(0, x)
    small = tirx.exp(zero - tirx.abs(x))
    return tirx.max(zero, x) + tirx.log(_number(1, x) + small)


def _hard_sigmoid(x: PrimExpr, alpha: Any, beta: Any) -> Any:
    return tirx.max(_number(0, x), tirx.min(_number(1, x), alpha * x + beta))


#: Name -> the function of x, alpha and beta.
_FUNCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "affine": lambda x, a, b: a * x + b,
    "elu": lambda x, a, _: tirx.Select(_positive(x), x, a * (tirx.exp(x) - _number(1, x))),
    "hardsigmoid": _hard_sigmoid,
    "leakyrelu": lambda x, a, _: tirx.Select(_positive(x), x, a * x),
    "relu": lambda x, _a, _b: tirx.max(_number(0, x), x),
    "scaledtanh": lambda x, a, b: a * tirx.tanh(b * x),
    "sigmoid": lambda x, _a, _b: tirx.sigmoid(x),
    "softplus": _softplus,
    "softsign": lambda x, _a, _b: x / (_number(1, x) + tirx.abs(x)),
    "tanh": lambda x, _a, _b: tirx.tanh(x),
    "thresholdedrelu": lambda x, a, _: tirx.Select(x >= a, x, _number(0, x)),
}


def activate(activation: Activation, x: PrimExpr, clip: float) -> Any:
    """``activation`` of ``x``, bounded to ``[-clip, clip]`` before where ``clip`` is not 0."""
    x = clipped(x, clip)
    alpha, beta = _number(activation.alpha, x), _number(activation.beta, x)
    return _FUNCTIONS[activation.name](x, alpha, beta)


def clipped(x: PrimExpr, clip: float) -> Any:
    """``x`` bounded to ``[-clip, clip]``; 0 for no bound."""
    return tirx.max(_number(-clip, x), tirx.min(_number(clip, x), x)) if clip else x


def sigmoid_power(x: PrimExpr) -> Any:
    """e^-x of a float32, bounded: the sigmoid is ``1 / (1 + e^-x)``."""
    return tirx.call_intrin("float32", BOUNDED_EXP, _number(-0.0, x) - x)


def sigmoid_under(x: PrimExpr) -> Any:
    """The denominator of a float32's sigmoid, whose numerator is 1."""
    return sigmoid_power(x) + _number(1, x)


def tanh_fraction(x: PrimExpr) -> tuple[Any, Any]:
    """Numerator and denominator of a float32's tanh."""
    over, under = (tirx.call_intrin("float32", name, x) for name in (TANH_OVER, TANH_UNDER))
    return over, under
