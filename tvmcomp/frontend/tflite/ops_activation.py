"""Functions of one number: activations, roots and the like."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.fixed_point import (
    give_steps,
    integers,
    is_byte,
    is_short,
    multiplied,
    out_scale,
    rescaled,
    scale_of,
)
from tvmcomp.frontend.tflite.hard_swish import hard_swish
from tvmcomp.frontend.tflite.short_softmax import short_softmax
from tvmcomp.frontend.tflite.short_tables import (
    SHORTS,
    Function,
    give_results,
    interpolated,
    is_short_function,
    sigmoid_results,
    tanh_results,
)


def unary(kind: str, **attributes: Any) -> Converter:
    """The converter of an operator that ONNX has as ``kind``."""

    def convert(call: Call) -> None:
        call.give(call.node(kind, call.real(0), **attributes))

    return convert


def _tabled(kind: str, function: Function) -> Converter:
    """As :func:`unary`; of 16-bit numbers ``function`` is interpolated in a table."""

    def convert(call: Call) -> None:
        if is_short_function(call):
            interpolated(call, function)
        else:
            unary(kind)(call)

    return convert


def log(call: Call) -> None:
    """LOG: the lowest number of what has none."""
    if is_short_function(call):
        least = -(2.0**15) * out_scale(call)
        interpolated(call, lambda x: np.where(x > 0, np.log(x), least))
        return
    call.give(call.node("Log", call.real(0)))


def sqrt(call: Call) -> None:
    """SQRT; quantized results are cut, not rounded."""
    tensor = call.tensor(0)
    if is_short_function(call):
        data = np.float32(scale_of(call, 0)) * np.maximum(SHORTS, 0).astype(np.float32)
        give_results(call, np.minimum(np.sqrt(data) / np.float32(out_scale(call)), 2**15 - 1))
    elif is_byte(tensor):
        data = call.node("Mul", integers(call, 0), call.number(scale_of(call, 0)))
        steps = call.node("Div", call.node("Sqrt", data), call.number(out_scale(call)))
        give_steps(call, call.node("Floor", steps))
    else:
        call.give(call.node("Sqrt", call.real(0)))


def rsqrt(call: Call) -> None:
    """RSQRT; of 8-bit numbers with 20 bits behind the point of the reciprocal root."""
    if is_short_function(call):
        most = (2.0**15 - 1) * out_scale(call)
        interpolated(call, lambda x: np.where(x > 0, 1 / np.sqrt(x.astype(np.float32)), most))
        return
    if is_byte(call.tensor(0)):
        root = call.node("Sqrt", integers(call, 0))
        reciprocal = call.node("Div", call.number(2**20), root)
        whole = call.node("Floor", call.node("Add", reciprocal, call.number(0.5)))
        factor = 1 / (math.sqrt(scale_of(call, 0)) * out_scale(call) * 2**20)
        give_steps(call, multiplied(call, whole, factor))
        return
    call.give(call.node("Reciprocal", call.node("Sqrt", call.real(0))))


def logistic(call: Call) -> None:
    """LOGISTIC."""
    if is_short_function(call) and not _has_own_kernel(call, 2.0**-12):
        give_results(call, sigmoid_results(scale_of(call, 0)))
    else:
        call.give(call.node("Sigmoid", call.real(0)))


def tanh(call: Call) -> None:
    """TANH."""
    if is_short_function(call) and not _has_own_kernel(call, 2.0**-12, 2.0**-11):
        give_results(call, tanh_results(scale_of(call, 0)))
    else:
        call.give(call.node("Tanh", call.real(0)))


def _has_own_kernel(call: Call, *scales: float) -> bool:
    """Whether the data has one of ``scales``, which it computes without a table."""
    return scale_of(call, 0) in scales


def softmax(call: Call) -> None:
    """SOFTMAX over the last axis, of ``beta`` times the data."""
    beta = float(call.options("SoftmaxOptions").Beta())
    if is_short(call.tensor(0)) and is_short(call.out()):
        short_softmax(call, beta)
        return
    data = call.real(0)
    if beta != 1.0:
        data = call.node("Mul", data, call.number(beta))
    call.give(call.node("Softmax", data, axis=-1))


def _ratio(call: Call, alpha: float = 1.0) -> float:
    """The data's scale, times ``alpha``, in steps of the result: in float32, as it computes it."""
    return float(np.float32(scale_of(call, 0)) * np.float32(alpha) / np.float32(out_scale(call)))


def negative(call: Call) -> None:
    """NEG: of quantized numbers as they are stored, whatever their scale and zero point."""
    if is_short_function(call):
        give_results(call, -SHORTS)
    elif call.tensor(0).quantized and call.tensor(0).dtype == np.int8:
        call.give_stored(call.node("Neg", call.stored(0)))
    else:
        call.give(call.node("Neg", call.real(0)))


def absolute(call: Call) -> None:
    """ABS."""
    if call.tensor(0).quantized:
        data = call.node("Abs", integers(call, 0))
        give_steps(call, multiplied(call, data, _ratio(call)))
        return
    call.give(call.node("Abs", call.real(0)))


def leaky_relu(call: Call) -> None:
    """LEAKY_RELU."""
    alpha = float(call.options("LeakyReluOptions").Alpha())
    if not call.tensor(0).quantized:
        call.give(call.node("LeakyRelu", call.real(0), alpha=alpha))
        return
    times = rescaled if is_byte(call.tensor(0)) else multiplied
    data = integers(call, 0)
    if 0 < alpha < 1:
        sides = [times(call, data, _ratio(call)), times(call, data, _ratio(call, alpha))]
        give_steps(call, call.node("Max", *sides))
        return
    steps = times(call, call.node("Relu", data), _ratio(call))
    if alpha:
        below = call.node("Sub", data, call.node("Relu", data))
        below = call.node("Neg", below) if alpha < 0 else below
        steps = call.node("Add", steps, times(call, below, _ratio(call, abs(alpha))))
    give_steps(call, steps)


def prelu(call: Call) -> None:
    """PRELU."""
    if not (call.tensor(0).quantized and call.tensor(1).quantized):
        call.give(call.node("PRelu", call.real(0), call.real(1)))
        return
    data, alpha = integers(call, 0), integers(call, 1)
    if is_short(call.tensor(0)) and not is_short(call.tensor(1)):
        alpha = call.cast(alpha, "float64")
    above = call.node("Relu", data)
    below = call.node("Mul", call.node("Sub", data, above), alpha)
    sides = [
        multiplied(call, above, _ratio(call)),
        multiplied(call, below, _ratio(call, scale_of(call, 1))),
    ]
    give_steps(call, call.node("Add", *sides))


def relu(call: Call) -> None:
    """RELU."""
    if call.tensor(0).quantized:
        steps = multiplied(call, integers(call, 0), _ratio(call))
        give_steps(call, call.node("Relu", steps))
        return
    call.give(call.node("Relu", call.real(0)))


def _clip(low: float, high: float) -> Converter:
    def convert(call: Call) -> None:
        if call.tensor(0).quantized and _ratio(call) != 1:
            steps = multiplied(call, integers(call, 0), _ratio(call))
            wide = np.float64 if is_short(call.tensor(0)) else np.float32
            ends = (np.rint(end / out_scale(call)) for end in (low, high))
            bounds = (call.w.constant(wide(end)) for end in ends)
            give_steps(call, call.node("Clip", steps, *bounds))
            return
        call.give(call.node("Clip", call.real(0), call.number(low), call.number(high)))

    return convert


def gelu(call: Call) -> None:
    """GELU, exact or by tanh."""
    by_tanh = call.options("GeluOptions").Approximate()
    if is_short_function(call):
        interpolated(call, _gelu_by_tanh if by_tanh else _gelu)
        return
    call.give(call.node("Gelu", call.real(0), approximate="tanh" if by_tanh else "none"))


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * np.array([math.erfc(-each * math.sqrt(0.5)) for each in x])


def _gelu_by_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


#: Operator of the source -> converter.
ACTIVATION: dict[str, Converter] = {
    "ABS": absolute,
    "ELU": unary("Elu"),
    "EXP": _tabled("Exp", np.exp),
    "GELU": gelu,
    "HARD_SWISH": hard_swish,
    "LEAKY_RELU": leaky_relu,
    "LOG": log,
    "LOGISTIC": logistic,
    "LOG_SOFTMAX": unary("LogSoftmax", axis=-1),
    "NEG": negative,
    "PRELU": prelu,
    "RELU": relu,
    "RELU6": _clip(0, 6),
    "RELU_0_TO_1": _clip(0, 1),
    "RELU_N1_TO_1": _clip(-1, 1),
    "RSQRT": rsqrt,
    "SOFTMAX": softmax,
    "SQRT": sqrt,
    "TANH": tanh,
}
