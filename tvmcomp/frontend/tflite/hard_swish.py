"""HARD_SWISH of 8-bit numbers, as TensorFlow Lite computes it in 16 bits.

    y    = 128 x * fraction(sx / 128 sy) * gate
    gate = 128 x * fraction(sx / 128 / (3 / 2^15)), from 0 to 1

Each product with a fraction of 15 bits is rounded, the product of both is cut, and its power of two
rounded, halves away from 0. All is whole numbers that float32 holds.
"""

from __future__ import annotations

import math

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.fixed_point import (
    fraction_of,
    give_steps,
    integers,
    is_byte,
    out_scale,
    scale_of,
)

_SHORT = -(2**15), 2**15 - 1


def hard_swish(call: Call) -> None:
    """HARD_SWISH."""
    if not (is_byte(call.tensor(0)) and is_byte(call.out())):
        call.give(call.node("HardSwish", call.real(0)))
        return
    data = integers(call, 0)
    fine = np.float32(1 / 128) * np.float32(scale_of(call, 0))
    fraction, exponent = _parts(float(fine / np.float32(out_scale(call))))
    scaled = _floor(call, data, 128 * fraction, 0.5)
    gate = _gate(call, data, *_parts(float(fine / (np.float32(3) / np.float32(2**15)))))
    size, side = call.node("Abs", scaled), call.node("Sign", scaled)
    # size times gate / 2^15, cut, in two halves of 8 bits of the gate
    high = _floor(call, gate, 2**-8)
    low = call.node("Sub", gate, call.node("Mul", high, call.number(2**8)))
    part = _floor(call, call.node("Mul", size, low), 2**-8)
    size = _floor(call, call.node("Add", call.node("Mul", size, high), part), 2**-7)
    size = _floor(call, size, 2.0**exponent, 0.5)
    give_steps(call, call.node("Mul", size, side))


def _parts(factor: float) -> tuple[float, int]:
    """``factor`` as a fraction of 15 bits, from a half to 1, and a power of two."""
    exponent = math.frexp(factor)[1]
    return math.ldexp(float(fraction_of(factor, 15)), -exponent), exponent


def _gate(call: Call, data: str, fraction: float, exponent: int) -> str:
    """Where the data is between -3 and 3: 0 to 2^15."""
    place = _floor(call, data, 128 * fraction * 2.0 ** max(exponent - 1, 0), 0.5)
    ends = [math.floor(end * fraction + 0.5) for end in _SHORT]
    place = call.node("Clip", place, *(call.number(end) for end in ends))
    if exponent > 0:
        place = call.node("Mul", place, call.number(2))
        place = call.node("Clip", place, *(call.number(end) for end in _SHORT))
    elif exponent < 0:
        whole = _floor(call, call.node("Abs", place), 2.0**exponent, 0.5)
        place = call.node("Mul", whole, call.node("Sign", place))
    return _floor(call, call.node("Add", place, call.number(2**15)), 0.5)


def _floor(call: Call, name: str, factor: float, more: float = 0.0) -> str:
    """``factor`` times ``name``, and ``more``, rounded down."""
    steps = call.node("Mul", name, call.number(factor))
    return call.node("Floor", call.node("Add", steps, call.number(more)) if more else steps)
