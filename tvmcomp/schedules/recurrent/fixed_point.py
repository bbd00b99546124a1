"""Fixed-point arithmetic on TIR expressions of int32, bit for bit as LiteRT's kernels have it.

``Qm`` is a number in 16 bits of which m are before the point, and 15 - m after.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.fixed_point import Multiplier
from tvmcomp.schedules.tir.fixed_point_math import LOGISTIC, SCALE, TANH
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx


def _int(value: int) -> Any:
    return tirx.const(value, "int32")


def saturated(value: Any, bits: int = 16) -> Any:
    """``value`` in the range of a signed number of so many bits, still as int32."""
    limit = 1 << (bits - 1)
    return tirx.max(tirx.min(value, _int(limit - 1)), _int(-limit))


def shifted(value: Any, bits: int) -> Any:
    """``value / 2^bits``, halves away from 0; of a number below 2^31 - 1."""
    if bits == 0:
        return value
    away = value + (value >> _int(31))
    half = away >> _int(bits - 1) if bits > 1 else away
    return (half + _int(1)) >> _int(1)


def scaled(value: Any, by: Multiplier) -> Any:
    """int32 ``value`` times ``by``: rounded to 31 bits, halves up, and then shifted."""
    return tirx.call_intrin("int32", SCALE, value, _int(by.mantissa), _int(by.exponent))


def logistic(x: Any) -> Any:
    """1 / (1 + e^-x) of a Q3, as Q0."""
    return tirx.call_intrin("int32", LOGISTIC, x)


def tanh(x: Any, whole: int) -> Any:
    """tanh of a number with ``whole`` bits before the point, 0 to 6, as Q0."""
    return tirx.call_intrin("int32", TANH, x, _int(whole))
