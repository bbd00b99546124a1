"""SOFTMAX of 16-bit numbers: as TensorFlow Lite looks it up in two tables.

    e[i] = exp(10 (x[i] - max(x)) / 65535 steps)          a table over [-10, 0]
    y[i] = e[i] / sum(e)                                  a table of 1 / (1 + x) over [0, 1]

A table has 513 numbers of 15 bits behind the point; what lies between two is interpolated in 128
steps. The sum is brought to between 1 and 2 by a power of two. All is whole numbers, in float64.
"""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.fixed_point import give_steps, integers, multiplied, scale_of
from tvmcomp.frontend.tflite.short_tables import table

_LOW, _HIGH = -(2.0**15), 2.0**15 - 1


def short_softmax(call: Call, beta: float) -> None:
    """Write the softmax over the last axis of ``beta`` times the data."""
    data = integers(call, 0)
    axis = call.w.ints([-1])
    below = call.node("Sub", data, call.node("ReduceMax", data, axis, keepdims=1))
    place = multiplied(call, below, scale_of(call, 0) * beta / (10 / 65535))
    place = _clipped(call, call.node("Add", place, _number(call, _HIGH)))
    powers = _looked_up(call, place, table(np.exp, -10, 0))
    total = call.node("ReduceSum", powers, axis, keepdims=1)
    exponent = _exponent(call, total)
    powers_of_two = call.w.constant(np.ldexp(1.0, np.arange(47)))
    unit = call.node("Gather", powers_of_two, exponent)
    # 1 <= total / unit < 2, in 16 bits behind the point; the table's numbers count from -2^15.
    shifted = call.node("Div", call.node("Mul", total, _number(call, 2.0**16)), unit)
    shifted = call.node("Sub", _rounded(call, shifted), _number(call, 2.0**15 + 2.0**16))
    inverse = _looked_up(call, _clipped(call, shifted), table(lambda x: 1 / (1 + x), 0, 1))
    steps = call.node("Div", call.node("Mul", powers, inverse), unit)
    steps = call.node("Max", _rounded(call, steps), _number(call, 0.0))
    give_steps(call, steps)


def _looked_up(call: Call, place: str, numbers: np.ndarray) -> str:
    """The entries of a table at the whole numbers ``place`` from -2^15 to 2^15 - 1."""
    step = call.node("Floor", call.node("Mul", place, _number(call, 1 / 128)))
    offset = call.node("Sub", place, call.node("Mul", step, _number(call, 128.0)))
    index = call.cast(call.node("Add", step, _number(call, 256.0)), "int64")
    base = call.node("Gather", call.w.constant(numbers[:-1]), index)
    slope = call.node("Gather", call.w.constant(np.diff(numbers)), index)
    part = call.node("Mul", call.node("Mul", slope, offset), _number(call, 1 / 128))
    return call.node("Add", base, _rounded(call, part))


def _exponent(call: Call, total: str) -> str:
    """The whole part of the logarithm to base 2 of the whole numbers ``total``: int64."""
    inside = call.node("Add", total, _number(call, 0.5))  # no power of two: Log may err a little
    natural = call.node("Log", inside)
    return call.cast(
        call.node("Floor", call.node("Mul", natural, _number(call, 1 / np.log(2.0)))), "int64"
    )


def _rounded(call: Call, name: str) -> str:
    return call.node("Floor", call.node("Add", name, _number(call, 0.5)))


def _clipped(call: Call, name: str) -> str:
    return call.node("Clip", name, _number(call, _LOW), _number(call, _HIGH))


def _number(call: Call, value: float) -> str:
    return call.w.constant(np.float64(value))
