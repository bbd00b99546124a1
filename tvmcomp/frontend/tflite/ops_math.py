"""Element-wise operators of several numbers, and of one that need no more than ONNX's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.fixed_point import (
    bounded,
    give_steps,
    integers,
    is_byte,
    is_short,
    multiplied,
    out_scale,
    scale_of,
)
from tvmcomp.frontend.tflite.ops_activation import unary


def _binary(kind: str, options: str | None = None, **attributes: Any) -> Converter:
    def convert(call: Call) -> None:
        if kind in ("Add", "Sub", "Mul") and all(map(is_short, call.tensors())):
            _short_binary(call, kind, options)
            return
        result = call.node(kind, call.real(0), call.real(1), **attributes)
        fused = call.options(options).FusedActivationFunction() if options else 0
        call.give(call.activated(result, fused))

    return convert


def _short_binary(call: Call, kind: str, options: str | None) -> None:
    """ADD, SUB and MUL of 16-bit numbers; terms are brought to twice the larger scale, and 15 more
    bits."""
    scales = [scale_of(call, 0), scale_of(call, 1)]
    data = [integers(call, 0), integers(call, 1)]
    if kind == "Mul":
        whole = np.float32(scales[0]) * np.float32(scales[1])  # as it computes it
        factor = float(whole / np.float32(out_scale(call)))
    else:
        unit = 2 * max(scales)
        bits = call.w.constant(np.float64(2**15))
        for i in (0, 1):
            data[i] = multiplied(call, call.node("Mul", data[i], bits), scales[i] / unit)
        factor = unit / (2**15 * out_scale(call))
    steps = multiplied(call, call.node(kind, *data), factor)
    fused = call.options(options).FusedActivationFunction() if options else 0
    give_steps(call, bounded(call, steps, fused))


def _compare(kind: str) -> Converter:
    def convert(call: Call) -> None:
        left, right = call.real(0), call.real(1)
        ordered = kind not in ("Equal", "NotEqual")
        if ordered and is_short(call.tensor(0)) and is_short(call.tensor(1)):
            # Whatever their scales. ONNX Runtime compares no int16.
            left, right = (call.cast(call.stored(i), "int32") for i in (0, 1))
        if kind == "NotEqual":
            call.give(call.node("Not", call.node("Equal", left, right)))
        else:
            call.give(call.node(kind, left, right))

    return convert


def _is_integer(call: Call, i: int = 0) -> bool:
    tensor = call.tensor(i)
    return not tensor.quantized and tensor.dtype is not None and tensor.dtype.kind in "iu"


def add_n(call: Call) -> None:
    """ADD_N: the sum of all inputs."""
    call.give(call.node("Sum", *(call.real(i) for i in range(len(call.operator.inputs)))))


def squared_difference(call: Call) -> None:
    """SQUARED_DIFFERENCE; 8-bit numbers are brought to twice the larger scale and 7 more bits."""
    if is_byte(call.tensor(0)):
        unit = 2 * max(scale_of(call, 0), scale_of(call, 1))
        sides = []
        for i in (0, 1):
            ratio = scale_of(call, i) / unit
            if ratio == 0.5:
                sides.append(call.node("Mul", integers(call, i), call.number(2**6)))
                continue
            # Float32 would not tell what of 15 bits is on which side of a half.
            wide = call.cast(integers(call, i), "float64")
            wide = call.node("Mul", wide, call.w.constant(np.float64(2**7)))
            sides.append(call.cast(multiplied(call, wide, ratio, real=np.float64), "float32"))
        difference = call.node("Sub", *sides)
        square = call.node("Mul", difference, difference)
        give_steps(call, multiplied(call, square, unit**2 / (2**14 * out_scale(call))))
        return
    difference = call.node("Sub", call.real(0), call.real(1))
    call.give(call.node("Mul", difference, difference))


def square(call: Call) -> None:
    """SQUARE."""
    call.give(call.node("Mul", call.real(0), call.real(0)))


def floor_mod(call: Call) -> None:
    """FLOOR_MOD: the remainder has the divisor's sign."""
    left, right = call.real(0), call.real(1)
    if _is_integer(call):
        call.give(call.node("Mod", left, right))
        return
    whole = call.node("Floor", call.node("Div", left, right))
    call.give(call.node("Sub", left, call.node("Mul", whole, right)))


def floor_div(call: Call) -> None:
    """FLOOR_DIV: downwards for negative integers too, where ONNX's Div goes towards 0."""
    left, right = call.real(0), call.real(1)
    if _is_integer(call):
        left = call.node("Sub", left, call.node("Mod", left, right))
        call.give(call.node("Div", left, right))
        return
    call.give(call.node("Floor", call.node("Div", left, right)))


def zeros_like(call: Call) -> None:
    """ZEROS_LIKE."""
    zero = call.w.constant(np.zeros((), call.out().dtype))
    call.give_stored(call.node("Expand", zero, call.node("Shape", call.stored(0))))


def right_shift(call: Call) -> None:
    """RIGHT_SHIFT of signed numbers keeps the sign: it divides downwards by a power of two."""
    power = call.node("Pow", call.number(2), call.stored(1))
    left = call.stored(0)
    left = call.node("Sub", left, call.node("Mod", left, power))
    call.give_stored(call.node("Div", left, power))


def atan2(call: Call) -> None:
    """ATAN2: the angle of (x, y), from the quotient's and the quadrant."""
    y, x = call.real(0), call.real(1)
    zero, pi = call.number(0), call.number(np.pi)
    angle = call.node("Atan", call.node("Div", y, x))
    left = call.node("Less", x, zero)
    turn = call.node("Where", call.node("Less", y, zero), call.node("Neg", pi), pi)
    result = call.node("Where", left, call.node("Add", angle, turn), angle)
    both = call.node("And", call.node("Equal", x, zero), call.node("Equal", y, zero))
    call.give(call.node("Where", both, zero, result))


#: Operator of the source -> converter.
MATH: dict[str, Converter] = {
    "ADD": _binary("Add", "AddOptions"),
    "ADD_N": add_n,
    "ATAN2": atan2,
    "BITWISE_XOR": _binary("BitwiseXor"),
    "CEIL": unary("Ceil"),
    "COS": unary("Cos"),
    "DIV": _binary("Div", "DivOptions"),
    "EQUAL": _compare("Equal"),
    "FLOOR": unary("Floor"),
    "FLOOR_DIV": floor_div,
    "FLOOR_MOD": floor_mod,
    "GREATER": _compare("Greater"),
    "GREATER_EQUAL": _compare("GreaterOrEqual"),
    "LESS": _compare("Less"),
    "LESS_EQUAL": _compare("LessOrEqual"),
    "LOGICAL_AND": _binary("And"),
    "LOGICAL_NOT": unary("Not"),
    "LOGICAL_OR": _binary("Or"),
    "MAXIMUM": _binary("Max"),
    "MINIMUM": _binary("Min"),
    "MUL": _binary("Mul", "MulOptions"),
    "NOT_EQUAL": _compare("NotEqual"),
    "POW": _binary("Pow"),
    "RIGHT_SHIFT": right_shift,
    "ROUND": unary("Round"),
    "SIGN": unary("Sign"),
    "SIN": unary("Sin"),
    "SQUARE": square,
    "SQUARED_DIFFERENCE": squared_difference,
    "SUB": _binary("Sub", "SubOptions"),
    "ZEROS_LIKE": zeros_like,
}
