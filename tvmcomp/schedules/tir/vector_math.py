"""exp, log, erf, tanh and sigmoid as polynomials that vectorize on every CPU target.

TVM makes of these operators one libm call an element. Here they are plain arithmetic on float32
vectors, with no instruction of any one target: within a few units in the last place, with
infinities, NaN and denormal numbers as in libm. float16 is computed in float32; float64 is libm's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.tir.fixed_point_math import FIXED_POINT, called
from tvmcomp.schedules.tir.llvm_text import Function, define
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Module, PrimExpr, PrimFunc

tirx = tvm.tirx

#: Operators of ours, of float32 only: what computes several functions at once divides once.
BOUNDED_EXP = "tirx.tvmcomp.bounded_exp"
ROUGH_EXP = "tirx.tvmcomp.rough_exp"
ROUGH_ERF = "tirx.tvmcomp.rough_erf"
TANH_OVER = "tirx.tvmcomp.tanh_over"
TANH_UNDER = "tirx.tvmcomp.tanh_under"
_PURE = 1  # tirx::CallEffectKind::kPure

_LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has so few bits that its product with an exponent is exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
#: The bound of what :func:`bounded_exp` is given, and the number that it rounds with: the low eight
#: bits of a sum with it are the integer plus 127, the exponent field.
_BOUND = 40.0
_ROUND_FIELD = 1.5 * 2**23 + 127
#: Added and subtracted, it rounds to the nearest integer. The nine low bits of the sum are that
#: integer plus 254.
_ROUND = 1.5 * 2**23 + 254

# e^r on [-ln2/2, ln2/2] is 1 + r + r^2 * (...), fitted as below. ln(1 + m) on [sqrt(1/2) - 1,
# sqrt(2) - 1] is m - m^2/2 + m^3 * (...): Cephes' logf (S. Moshier).
_EXP = (0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.00836874544620514,
        0.0013814539415761828)  # fmt: skip
_LOG = (3.3333331174e-1, -2.4999993993e-1, 2.0000714765e-1, -1.6668057665e-1, 1.4249322787e-1,
        -1.2420140846e-1, 1.1676998740e-1, -1.1514610310e-1, 7.0376836292e-2)  # fmt: skip
# 2^r on [-1/2, 1/2], within 2^-13.7 of itself: weighted least squares, iterated.
_ROUGH_EXP = (0.9999280571937561, 0.6932609677314758, 0.2426111400127411, 0.055171627551317215)
_ROUGH_LOWEST = -86.0
_ROOT_HALF_BITS = 0x3F3504F3

# x * P(x^2) / Q(x^2), fitted for the least relative error below the bound from which the function
# is 1 in float32 (weighted least squares, iterated), and scaled so that it rounds well.
_ERF_BOUND = 3.92
_ERF_P = (0.8022070527076721, 0.13536517322063446, 0.03750080615282059, 0.002677040873095393,
          0.0002025329740718007, 1.4575092563973158e-06)  # fmt: skip
_ERF_Q = (0.7109375, 0.3569430112838745, 0.08112366497516632, 0.010642020031809807,
          0.0008264731150120497, 2.7081050575361587e-05)  # fmt: skip
# Without a division, within 3e-5: x * P(x^2), fitted for the least error.
_ROUGH_ERF_BOUND = 3.0
_ROUGH_ERF = (1.1282684803009033, -0.3753148913383484, 0.11107933521270752, -0.025102859362959862,
              0.004235426429659128, -0.0005110366037115455, 4.1060488001676276e-05,
              -1.9448202692728955e-06, 4.074203374671015e-08)  # fmt: skip
_TANH_BOUND = 8.92
_TANH_P = (0.7265625, 0.09725940227508545, 0.0025442680343985558, 1.5048214663693216e-05,
           9.806951695168209e-09)  # fmt: skip
_TANH_Q = (0.7265625, 0.3394467830657959, 0.018818369135260582, 0.00023945975408423692,
           5.692512559107854e-07)  # fmt: skip


def exp(f: Function, x: str) -> str:
    """e^x = 2^n * e^r, r = x - n ln 2; 2^n in two factors, so that it may become denormal or 0."""
    # Beyond these bounds the result is infinite, or 0, all the same.
    y = f.clamp(x, -105.0, 89.0)
    shifted, power = _exp_parts(f, y, _ROUND)
    # The exponent fields of the factors, of which only the low nine bits count: half of n + 254,
    # and the rest of it.
    bits = f.bits(shifted)
    half = f.integer_operation("lshr", bits, f.integer(1))
    rest = f.integer_operation("sub", bits, half)
    return f.multiply(f.multiply(power, _field(f, half)), _field(f, rest))


def bounded_exp(f: Function, x: str) -> str:
    """e^x of x kept within 40 of 0: 2^n is one factor, and products of such numbers are finite."""
    shifted, power = _exp_parts(f, f.clamp(x, -_BOUND, _BOUND), _ROUND_FIELD)
    return f.multiply(power, _field(f, f.bits(shifted)))


def rough_exp(f: Function, x: str) -> str:
    """e^x of x at most 0, within 2^-13 of itself: what is rounded to bfloat16 needs no more. Below
    -86 it is e^-86."""
    y = f.where(x, "lt", f.number(_ROUGH_LOWEST), f.number(_ROUGH_LOWEST), x)
    shifted = f.multiply_add(y, f.number(_LOG2_E), f.number(_ROUND_FIELD))
    n = f.exact_subtract(shifted, f.number(_ROUND_FIELD))
    r = f.subtract(f.multiply(y, f.number(_LOG2_E)), n)
    return f.multiply(f.polynomial(r, _ROUGH_EXP), _field(f, f.bits(shifted)))


def _exp_parts(f: Function, y: str, rounding: float) -> tuple[str, str]:
    """A number whose low bits are n plus those of ``rounding``, and e^r."""
    shifted = f.multiply_add(y, f.number(_LOG2_E), f.number(rounding))
    n = f.exact_subtract(shifted, f.number(rounding))
    high = f.multiply_add(n, f.number(-_LN2_HIGH), y)
    r = f.multiply_add(n, f.number(-_LN2_LOW), high)
    square = f.multiply(r, r)
    return shifted, f.add(f.multiply_add(square, f.polynomial(r, _EXP), r), f.number(1.0))


def _field(f: Function, exponent: str) -> str:
    """The number 1.0 with this exponent field."""
    return f.float_of_bits(f.integer_operation("shl", exponent, f.integer(23)))


def log(f: Function, x: str) -> str:
    """ln x = e ln 2 + ln m, x = m 2^e with m in [sqrt(1/2), sqrt(2))."""
    smallest = f.number(2.0**-126)
    normal = f.where(x, "lt", smallest, f.multiply(x, f.number(2.0**24)), x)
    offset = f.where(x, "lt", smallest, f.number(-24.0), f.number(0.0))
    bits = f.bits(normal)
    # The exponent of x / sqrt(1/2), rounded down, from the bits alone.
    above = f.integer_operation("sub", bits, f.integer(_ROOT_HALF_BITS))
    e = f.integer_operation("ashr", above, f.integer(23))
    mantissa = f.integer_operation("sub", bits, f.integer_operation("shl", e, f.integer(23)))
    m = f.subtract(f.float_of_bits(mantissa), f.number(1.0))
    exponent = f.add(f.float_of_integer(e), offset)
    square = f.multiply(m, m)
    tail = f.multiply(f.multiply(square, m), f.polynomial(m, _LOG))
    tail = f.multiply_add(square, f.number(-0.5), tail)
    tail = f.add(f.multiply_add(exponent, f.number(_LN2_LOW), tail), m)
    value = f.multiply_add(exponent, f.number(_LN2_HIGH), tail)
    infinity, zero = f.number(float("inf")), f.number(0.0)
    value = f.where(x, "lt", infinity, value, x)  # infinity and NaN give themselves
    value = f.where(x, "lt", zero, f.number(float("nan")), value)
    return f.where(x, "eq", zero, f.number(float("-inf")), value)


def _odd_rational(
    f: Function, x: str, bound: float, p: tuple[float, ...], q: tuple[float, ...]
) -> str:
    """``x P(x^2) / Q(x^2)`` of x within ``bound``, kept within 1."""
    y = f.clamp(x, -bound, bound)
    square = f.multiply(y, y)
    numerator = f.multiply(y, f.polynomial(square, p))
    return f.clamp(f.divide(numerator, f.polynomial(square, q)), -1.0, 1.0)


def erf(f: Function, x: str) -> str:
    """The error function."""
    return _odd_rational(f, x, _ERF_BOUND, _ERF_P, _ERF_Q)


def rough_erf(f: Function, x: str) -> str:
    """The error function within 3e-5: what is rounded to bfloat16 needs no more."""
    y = f.clamp(x, -_ROUGH_ERF_BOUND, _ROUGH_ERF_BOUND)
    return f.multiply(y, f.polynomial(f.multiply(y, y), _ROUGH_ERF))


def tanh(f: Function, x: str) -> str:
    """The hyperbolic tangent."""
    return _odd_rational(f, x, _TANH_BOUND, _TANH_P, _TANH_Q)


def tanh_over(f: Function, x: str) -> str:
    """The numerator of :func:`tanh`, to be divided by :func:`tanh_under`."""
    y = f.clamp(x, -_TANH_BOUND, _TANH_BOUND)
    return f.multiply(y, f.polynomial(f.multiply(y, y), _TANH_P))


def tanh_under(f: Function, x: str) -> str:
    """The denominator of :func:`tanh`: from 0.7 to 400."""
    y = f.clamp(x, -_TANH_BOUND, _TANH_BOUND)
    return f.polynomial(f.multiply(y, y), _TANH_Q)


def sigmoid(f: Function, x: str) -> str:
    """1 / (1 + e^-x)."""
    power = exp(f, f.subtract(f.number(-0.0), x))
    return f.divide(f.number(1.0), f.add(f.number(1.0), power))


#: TIR operator -> its function.
FUNCTIONS: dict[str, Callable[[Function, str], str]] = {
    "tirx.exp": exp,
    "tirx.log": log,
    "tirx.erf": erf,
    "tirx.tanh": tanh,
    "tirx.sigmoid": sigmoid,
    BOUNDED_EXP: bounded_exp,
    ROUGH_EXP: rough_exp,
    ROUGH_ERF: rough_erf,
    TANH_OVER: tanh_over,
    TANH_UNDER: tanh_under,
}


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.VectorMath")  # type: ignore[untyped-decorator]
def vector_math(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """Call our functions in ``func``, vectorized already, and bring their code along."""
    used: dict[str, str] = {}

    def replace(call: Call) -> PrimExpr:
        kind = str(call.op.name) if isinstance(call.op, tvm.ir.Op) else ""
        if kind in FIXED_POINT:
            x, *numbers = call.args
            lanes = int(tvm.DataType(str(call.ty.dtype)).lanes)
            name, text = called(kind, lanes, [_constant(number) for number in numbers])
            used[name] = text
            return tirx.call_pure_extern(str(call.ty.dtype), name, x)
        body = FUNCTIONS.get(kind)
        dtype = str(call.ty.dtype) if body is not None else ""
        if body is None or not dtype.startswith(("float32", "float16")):
            return call
        wide = dtype.replace("float16", "float32")
        lanes = int(tvm.DataType(dtype).lanes)
        name = f"tvmcomp.{kind.removeprefix('tirx.')}.{lanes}"
        used[name] = define(name, lanes, body)
        result = tirx.call_pure_extern(wide, name, call.args[0].astype(wide))
        return result.astype(dtype)

    body = tvm_ffi.structural_map(func.body, ((tvm.ir.Call, replace),))
    if not used:
        return func
    text = tvm.ir.StringImm("\n".join(used.values()))
    return func.with_body(tirx.AttrStmt(tirx.const(0, "int32"), "pragma_import_llvm", text, body))


def _constant(value: PrimExpr) -> int:
    """A number, or one in every lane."""
    return int(value.value if isinstance(value, tirx.Broadcast) else value)


def _register() -> None:
    """Teach TVM our operators, vectorizable and without effects."""
    register = tvm.ir._ffi_api
    for name in (BOUNDED_EXP, ROUGH_EXP, ROUGH_ERF, TANH_OVER, TANH_UNDER):
        register.RegisterOp(name, f"see tvmcomp.schedules.tir.vector_math.{name.split('.')[-1]}")
        register.RegisterOpAttr(name, "TVectorizable", True, 10)
        register.RegisterOpAttr(name, "TCallEffectKind", _PURE, 10)
        register.RegisterOpAttr(name, "TScriptPrinterName", name.removeprefix("tirx."), 10)


_register()
