"""Our converters of integer operators that hardware leaves undefined, or ends the process for.

A division by zero gives 0, and so does its remainder; the smallest integer divided by -1 is
itself; a shift by the width or more gives 0. Where a constant operand shows that none of it can
happen, as nearly always, nothing is added to the operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import array_of, constant_like, dtype_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class Div(Converter):
    """Div; integers are rounded toward zero."""

    @classmethod
    def _impl_v7(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        left, right = inputs[0], inputs[1]
        if not _is_integer(left):
            array = array_of(right)
            if array is not None and array.size == 1 and not array.any():
                # TVM refuses to divide by a constant 0; times infinity is the same number.
                infinity = np.copysign(np.inf, array.astype(np.float64))
                return relax.op.multiply(left, constant_like(right, infinity))
            return relax.op.divide(left, right)
        if _divides_safely(right):
            return relax.op.divide(left, right)
        quotient = bb.emit(relax.op.divide(left, _safe_divisor(bb, right)))
        return relax.op.multiply(quotient, _sign_of_safe(bb, right))


class Mod(Converter):
    """Mod, with the sign of the divisor, or of the dividend (``fmod``)."""

    @classmethod
    def _impl_v10(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        left, right = inputs[0], inputs[1]
        if _is_integer(left) and not _divides_safely(right):
            # By 1 in place of 0 and -1: the remainder is 0.
            right = _safe_divisor(bb, right)
        if attr.get("fmod", 0) or dtype_of(left).startswith("uint"):
            return relax.op.mod(left, right)
        return _floored(bb, left, right)


def _floored(bb: Builder, left: Expr, right: Expr) -> Expr:
    """The remainder with the sign of the divisor, also of floats by infinity: from the truncated
    one, as C's and Python's differ.

    TVM's floor_mod of integers is the same number, and doubles the code of what it divides: that
    of twenty in a row is a million times one's.
    """
    cut = bb.emit(relax.op.mod(left, right))
    zero = constant_like(cut, 0.0)
    differs = relax.op.logical_xor(relax.op.less(cut, zero), relax.op.less(right, zero))
    other = relax.op.logical_and(relax.op.not_equal(cut, zero), differs)
    return relax.op.where(other, relax.op.add(cut, right), cut)


class BitShift(Converter):
    """BitShift; a right shift of a signed number keeps its sign."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        left, right = inputs[0], inputs[1]
        to_left = attr["direction"] == b"LEFT"
        shift = relax.op.left_shift if to_left else relax.op.right_shift
        last = np.iinfo(dtype_of(left)).bits - 1
        amounts = array_of(right)
        if amounts is not None and ((amounts >= 0) & (amounts <= last)).all():
            return shift(left, right)
        # The width or more, and a negative amount as if it were: all bits are shifted out.
        inside = relax.op.less_equal(right, constant_like(right, last))
        if _is_signed(right):
            inside = relax.op.logical_and(
                inside, relax.op.greater_equal(right, constant_like(right, 0))
            )
        inside = bb.emit(inside)
        amount = bb.emit(relax.op.where(inside, right, constant_like(right, last)))
        shifted = shift(left, amount)
        if _is_signed(left) and not to_left:
            return shifted
        return relax.op.where(inside, bb.emit(shifted), constant_like(left, 0))


def _safe_divisor(bb: Builder, divisor: Any) -> Expr:
    """Return ``divisor`` with 1 in place of 0 and, as x86 traps at the smallest by -1, of -1."""
    return _of_traps(bb, divisor, lambda b, zero, minus: b + zero + minus + minus)


def _sign_of_safe(bb: Builder, divisor: Any) -> Expr:
    """What a quotient by the safe divisor is to be multiplied by: 0 for 0, -1 for -1, or 1."""
    one = tvm.tirx.const(1, dtype_of(divisor))
    return _of_traps(bb, divisor, lambda b, zero, minus: one - zero - minus - minus)


def _of_traps(bb: Builder, divisor: Any, function: Callable[[Any, Any, Any], Any]) -> Expr:
    """Emit ``function(b, b == 0, b == -1)`` for each element of ``divisor``, in its dtype.

    The comparisons are made by counting bits. Around a division that the model itself selects
    (``Where(b == 0, 0, a / b)``) TVM would see that a plain one can't be true, drop it, and divide
    all the same, as both sides of a selection are computed.
    """
    dtype = dtype_of(divisor)
    wide = dtype if dtype.endswith("64") else "int32"
    one, sign_bit = (tvm.tirx.const(value, "int32") for value in (1, 31))

    def is_zero(value: Expr) -> Any:
        bits = tvm.tirx.popcount(value).astype("int32")
        # -1 where none is set.
        return (-tvm.tirx.shift_right(bits - one, sign_bit)).astype(dtype)

    def element(value: Expr) -> Any:
        bits = value.astype(wide)
        zero = is_zero(bits)
        signed = _is_signed(divisor)
        minus = is_zero(tvm.tirx.bitwise_not(bits)) if signed else tvm.tirx.const(0, dtype)
        return function(value, zero, minus)

    def compute(tensor: Expr) -> Any:
        return tvm.te.compute(tensor.shape, lambda *at: element(tensor(*at)), name="divisor")

    return bb.emit_te(compute, divisor, primfunc_name_hint="divisor")


def _divides_safely(divisor: Any) -> bool:
    """Whether a divisor is constant and has neither 0 nor -1 in it.

    Raises:
        ValueError: it is constant and has 0 in it.
    """
    array = array_of(divisor)
    if array is None:
        return False
    if not array.all():
        raise ValueError("it divides integers by the constant 0")
    return not (_is_signed(divisor) and (array == -1).any())


def _is_integer(expr: Expr) -> bool:
    return "int" in dtype_of(expr)


def _is_signed(expr: Expr) -> bool:
    return dtype_of(expr).startswith("int")


#: ONNX operator -> converter.
INTEGER = {"BitShift": BitShift, "Div": Div, "Mod": Mod}
