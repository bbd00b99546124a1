"""Products of two quantized activations, as attention has them: queries by keys, weights by values.

    (a - za) (b - zb)  =  a b  -  za * sum(b)  -  sum(a) * zb  +  n * za * zb

``a b`` is the dot product of the target, unsigned by signed or signed by signed: the right side is
made signed, which moves its zero point by 128. The sums are those of ``b`` over each column and of
``a`` over each row; where a zero point is 0 its sum is not computed. Weights of attention, from 0
to 1, have one of 0 where activations are unsigned.

Packing, sums and the epilogue cost as much as the product of a head of attention. Where integers
are not faster for that, the left side of the equation is multiplied in float32: the differences
are whole numbers, and sums of 258 of their products are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import const, const_value, shape_of
from tvmcomp.qparams import QParams
from tvmcomp.schedules.dot import has_dot_instruction, int8_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr

relax = tvm.relax
Emit = Callable[[Any, str], Any]
#: So many products of two differences of 8-bit numbers add up in an int32.
_DEEPEST = (2**31 - 1) // 255**2


def float_reason(
    left: tuple[int, ...], right: tuple[int, ...], target: TargetDescription
) -> str | None:
    """Why the product of 8-bit tensors of these shapes is better computed in float32; None where
    it is not."""
    if min(len(left), len(right)) < 2:
        return "a product with a vector"
    if left[-1] > _DEEPEST:
        return "32 bits may not hold its sums"
    if not has_dot_instruction(target):
        return "a product of two activations is not faster in 8 bits on this target"
    if right[-1] % int8_kernel(target).lanes:
        return "its columns are no whole number of vectors"
    return None


def activation_product(
    emit: Emit,
    left: Any,
    left_params: QParams,
    right: Any,
    right_params: QParams,
    step: float,
    target: TargetDescription,
    name: str,
) -> Expr:
    """The product of two 8-bit tensors, as float32.

    Args:
        emit: binds an expression to a name.
        left: ``[*, rows, depth]``, int8 or uint8.
        left_params: what its integers mean, one scale for all.
        right: ``[*, depth, columns]``, int8 or uint8.
        right_params: likewise.
        step: what the result is counted in; 1 for real numbers.
        target: the device.
        name: of the product.

    Returns:
        ``[*, rows, columns]``.
    """
    scale = left_params.scale * right_params.scale / np.float32(step)
    if float_reason(shape_of(left), shape_of(right), target) is not None:
        sides = [
            emit(_differences(integers, params), f"{name}_{side}")
            for side, integers, params in (
                ("left", left, left_params),
                ("right", right, right_params),
            )
        ]
        product = emit(relax.op.matmul(*sides), name)
        return emit(relax.op.multiply(product, const(np.asarray(scale))), f"{name}_real")
    depth = shape_of(left)[-1]
    left_zero, right_zero = int(left_params.zero_point), int(right_params.zero_point)
    if right_params.dtype == "uint8":
        right, right_zero = _signed(emit, right, name), right_zero - 128
    total = emit(relax.op.matmul(left, right, out_dtype="int32"), name)
    if left_zero:
        share = _share(emit, right, -2, left_zero, f"{name}_columns")
        total = emit(relax.op.subtract(total, share), f"{name}_left")
    if right_zero:
        share = _share(emit, left, -1, right_zero, f"{name}_rows")
        total = emit(relax.op.subtract(total, share), f"{name}_right")
    zero = np.int32(-depth * left_zero * right_zero)
    real = relax.op.dequantize(total, const(np.asarray(scale)), const(np.asarray(zero)), -1)
    return emit(real, f"{name}_real")


def _differences(integers: Any, params: QParams) -> Any:
    """``integers`` less their zero point, as float32."""
    zero = const(params.zero_point)
    return relax.op.dequantize(integers, const(np.ones((), np.float32)), zero, -1)


def _signed(emit: Emit, integers: Any, name: str) -> Any:
    """``uint8`` numbers less 128, as int8: one bit changes."""
    known = const_value(integers)
    if known is not None:
        return const((known ^ np.uint8(128)).view(np.int8))
    flipped = emit(relax.op.bitwise_xor(integers, relax.const(128, "uint8")), f"{name}_flipped")
    return emit(relax.op.astype(flipped, "int8"), f"{name}_signed")


def _share(emit: Emit, integers: Any, axis: int, zero: int, name: str) -> Any:
    """``zero`` times the sums of 8-bit numbers along ``axis``, which is kept: int32."""
    known = const_value(integers)
    if known is not None:
        return const(known.sum(axis, np.int32, keepdims=True) * np.int32(zero))
    wide = emit(relax.op.astype(integers, "int32"), f"{name}_wide")
    sums = emit(relax.op.sum(wide, [axis], keepdims=True), f"{name}_sums")
    return emit(relax.op.multiply(sums, relax.const(zero, "int32")), f"{name}_share")
