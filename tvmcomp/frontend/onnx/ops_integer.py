"""Our converters of integer operators that hardware leaves undefined, or ends the process for.

A division by zero gives 0, and so does its remainder; the smallest integer divided by -1 is
itself; a shift by the width or more gives 0. Where a constant operand shows that none of it can
happen, as nearly always, nothing is added to the operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import array_of, constant_like, dtype_of
from tvmcomp.tvm_import import tvm

relax = tvm.relax


class Div(Converter):
    """Div; integers are rounded toward zero."""

    @classmethod
    def _impl_v7(cls, bb: Any, inputs: Any, attr: dict[str, Any], params: Any) -> Any:
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
        zero = relax.op.equal(right, constant_like(right, 0))
        quotient = bb.emit(relax.op.divide(left, _safe_divisor(right)))
        if _is_signed(right):
            # x86 traps where the smallest integer is divided by -1.
            minus = relax.op.equal(right, constant_like(right, -1))
            negated = relax.op.subtract(constant_like(left, 0), left)
            quotient = relax.op.where(minus, negated, quotient)
        return relax.op.where(zero, constant_like(left, 0), quotient)


class Mod(Converter):
    """Mod, with the sign of the divisor, or of the dividend (``fmod``)."""

    @classmethod
    def _impl_v10(cls, bb: Any, inputs: Any, attr: dict[str, Any], params: Any) -> Any:
        left, right = inputs[0], inputs[1]
        remainder = relax.op.mod if attr.get("fmod", 0) else relax.op.floor_mod
        if not _is_integer(left) or _divides_safely(right):
            return remainder(left, right)
        # By 1 in place of 0 and -1: the remainder is 0.
        return remainder(left, _safe_divisor(right))


class BitShift(Converter):
    """BitShift of unsigned integers."""

    @classmethod
    def _impl_v11(cls, bb: Any, inputs: Any, attr: dict[str, Any], params: Any) -> Any:
        left, right = inputs[0], inputs[1]
        shift = relax.op.left_shift if attr["direction"] == b"LEFT" else relax.op.right_shift
        last = np.iinfo(dtype_of(left)).bits - 1
        amounts = array_of(right)
        if amounts is not None and (amounts <= last).all():
            return shift(left, right)
        inside = relax.op.less_equal(right, constant_like(right, last))
        shifted = shift(left, relax.op.minimum(right, constant_like(right, last)))
        return relax.op.where(inside, shifted, constant_like(left, 0))


def _safe_divisor(divisor: Any) -> Any:
    """Return ``divisor`` with 1 in place of 0 and -1."""
    trap = relax.op.equal(divisor, constant_like(divisor, 0))
    if _is_signed(divisor):
        trap = relax.op.logical_or(trap, relax.op.equal(divisor, constant_like(divisor, -1)))
    return relax.op.where(trap, constant_like(divisor, 1), divisor)


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


def _is_integer(expr: Any) -> bool:
    return "int" in dtype_of(expr)


def _is_signed(expr: Any) -> bool:
    return dtype_of(expr).startswith("int")


#: ONNX operator -> converter.
INTEGER = {"BitShift": BitShift, "Div": Div, "Mod": Mod}
