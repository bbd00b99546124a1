"""Sigmoid and tanh of fixed-point numbers in 16 bits, bit for bit as in LiteRT's integer LSTM.

The numbers are int32 of which 16 bits are used, so that no intermediate leaves its type and any
vector unit computes them. ``Qm`` has m bits before the point, and 15 - m after. The algorithms are
those of gemmlowp's ``fixedpoint.h`` for 16 bits: e^x from a Taylor polynomial around -1/8 and a
product for each bit of x above; 1 / (1 + x) by three steps of Newton's method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvmcomp.schedules.tir.llvm_integers import IntegerFunction, define_integers
from tvmcomp.tvm_import import tvm

#: Operators of int32: 1 / (1 + e^-x); x mantissa / 2^31 2^exponent; tanh of a number with so many
#: bits before the point. What follows x is constant.
LOGISTIC = "tirx.tvmcomp.fixed_logistic"
SCALE = "tirx.tvmcomp.fixed_scale"
TANH = "tirx.tvmcomp.fixed_tanh"
_PURE = 1  # tirx::CallEffectKind::kPure

_MOST = 32767
#: e^(-1/8) and 1/3 in Q0; 48/17, -32/17 and 1 in Q2.
_EXP_EIGHTH, _THIRD = 28918, 10923
_START, _SLOPE, _ONE_Q2 = 23130, -15420, 8192
#: e^-(2^k) in Q0, for k from -2.
_POWERS = (25520, 19875, 12055, 4435, 600, 11, 0)
#: From so many bits before the point on a number may be below -32, of which e^x is 0.
_WIDE = 6


def _exp_to_quarter(f: IntegerFunction, x: str) -> str:
    """e^x of a Q0 from -1/4 to 0 (exclusive), as Q0."""
    x = f.add(x, f.number(1 << 12))
    x2 = f.product(x, x)
    x3, x4 = f.product(x2, x), f.product(x2, x2)
    cubes = f.product(f.add(f.halved(x4, 2), x3), f.number(_THIRD))
    tail = f.add(x, f.halved(f.add(cubes, x2), 1))
    eighth = f.number(_EXP_EIGHTH)
    return f.at_most(f.add(eighth, f.product(eighth, tail)), _MOST)


def _exp(f: IntegerFunction, x: str, whole: int) -> str:
    """e^x of a number with ``whole`` bits before the point that is not above 0, as Q0."""
    fraction = 15 - whole
    quarter = 1 << (fraction - 2)
    rest = f.subtract(f.bits(x, quarter - 1), f.number(quarter))
    result = _exp_to_quarter(f, f.shift_left(rest, whole))
    quarters = f.subtract(rest, x)
    zero = f.number(0)
    for k, power in zip(range(-2, whole), _POWERS, strict=False):
        bit = f.bits(quarters, 1 << (fraction + k))
        result = f.where(bit, "eq", zero, result, f.product(result, f.number(power)))
    if whole >= _WIDE:
        result = f.where(x, "slt", f.number(-32 << fraction), zero, result)
    return f.where(x, "eq", zero, f.number(_MOST), result)


def _reciprocal(f: IntegerFunction, x: str) -> str:
    """2 / (1 + x) of a Q0 from 0 to 1, as Q2."""
    half = f.shift_right(f.add(x, f.number(1 << 15)), 1)
    found = f.add(f.number(_START), f.product(half, f.number(_SLOPE)))
    for _ in range(3):
        rest = f.subtract(f.number(_ONE_Q2), f.product(half, found))
        found = f.add(found, f.shift_left(f.product(found, rest), 2))
    return found


def logistic(f: IntegerFunction, x: str) -> str:
    """1 / (1 + e^-x) of a Q3, as Q0."""
    zero, most = f.number(0), f.number(_MOST)
    power = _exp(f, f.smaller(x, f.subtract(zero, x)), 3)
    positive = f.at_most(f.shift_left(_reciprocal(f, power), 1), _MOST)
    value = f.where(x, "sgt", zero, positive, f.subtract(most, positive))
    return f.where(x, "eq", zero, f.number(1 << 14), value)


def tanh(f: IntegerFunction, x: str, whole: int) -> str:
    """tanh of a number with ``whole`` bits before the point, 0 to 6, as Q0."""
    zero = f.number(0)
    # Of twice the number: the same bits, with one more before the point.
    power = _exp(f, f.smaller(x, f.subtract(zero, x)), whole + 1)
    positive = f.shift_left(f.subtract(_reciprocal(f, power), f.number(_ONE_Q2)), 2)
    positive = f.at_most(positive, _MOST)
    value = f.where(x, "slt", zero, f.subtract(zero, positive), positive)
    return f.where(x, "eq", zero, zero, value)


def scale(f: IntegerFunction, x: str, mantissa: int, exponent: int) -> str:
    """x mantissa / 2^31 2^exponent: rounded to 31 bits, halves up, and then shifted."""
    if not mantissa:
        return f.number(0)
    if exponent > 0:
        x = f.shift_left(x, exponent)
    product = f.scaled(x, mantissa)
    return f.halved(product, -exponent) if exponent < 0 else product


#: TIR operator of int32 and numbers that are constants -> its function.
FIXED_POINT: dict[str, Callable[..., str]] = {LOGISTIC: logistic, SCALE: scale, TANH: tanh}


def called(operator: str, lanes: int, numbers: Sequence[int]) -> tuple[str, str]:
    """Name and LLVM IR of the function that an operator with these numbers is on a vector."""
    kind = operator.removeprefix("tirx.")
    name = ".".join([kind, *(str(number) for number in numbers), str(lanes)])
    body = FIXED_POINT[operator]
    return name, define_integers(name, lanes, lambda f, x: body(f, x, *numbers))


def _register() -> None:
    """Teach TVM the operators, vectorizable and without effects."""
    register = tvm.ir._ffi_api
    for name in FIXED_POINT:
        register.RegisterOp(name, "see tvmcomp.schedules.tir.fixed_point_math")
        register.RegisterOpAttr(name, "TVectorizable", True, 10)
        register.RegisterOpAttr(name, "TCallEffectKind", _PURE, 10)
        register.RegisterOpAttr(name, "TScriptPrinterName", name.removeprefix("tirx."), 10)


_register()
