"""NEON's dot products and widening multiplies as tensor intrinsics.

Each function registers one and gives its name.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.bfloat16 import dot_product
from tvmcomp.schedules.dot_intrinsic import register_dot
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx


def sdot() -> str:
    """Armv8.2 dot product: s8 x s8, four at a time, into int32."""

    def emit(data: Any, weight: Any, acc: PrimExpr) -> PrimExpr:
        four = tirx.reinterpret("int32", data)
        broadcast = tirx.reinterpret("int8x16", tirx.Broadcast(four, 4))
        # The last operand is the one that may be an element of a vector.
        return tirx.call_llvm_pure_intrin(
            "int32x4", "llvm.aarch64.neon.sdot.v4i32.v16i8", acc, weight, broadcast
        )

    return register_dot("tvmcomp.arm.sdot", 4, 4, ("int8", "int8", "int32"), emit, "local")


def sadalp() -> str:
    """Any 64-bit NEON: s8 products in 16 bits (``smull``), added in pairs into int32 (``sadalp``).

    On cores that multiply in one pipe and add in the other (Cortex-A72) the two take no longer than
    one, and 8 products a cycle are twice what ``smlal`` into 32 bits, or ``fmla``, reaches.
    """

    def emit(data: Any, weight: Any, acc: PrimExpr) -> PrimExpr:
        pair = tirx.Broadcast(tirx.reinterpret("int16", data), 4)
        products = tirx.call_llvm_pure_intrin(
            "int16x8", "llvm.aarch64.neon.smull.v8i16", weight, tirx.reinterpret("int8x8", pair)
        )
        return acc + tirx.call_llvm_pure_intrin(
            "int32x4", "llvm.aarch64.neon.saddlp.v4i32.v8i16", products
        )

    return register_dot("tvmcomp.arm.sadalp", 4, 2, ("int8", "int8", "int32"), emit, "local")


def vmlal() -> str:
    """NEON of Armv7: widen to 16 bits, multiply into 32 and add (``vmlal``)."""

    def emit(data: Any, weight: Any, acc: PrimExpr) -> PrimExpr:
        wide = weight.astype("int16x8")
        left = tirx.Broadcast(data.astype("int16"), 4)
        halves = [
            tirx.call_llvm_pure_intrin(
                "int32x4",
                "llvm.arm.neon.vmulls.v4i32",
                tirx.Shuffle([wide], list(range(at, at + 4))),
                left,
            )
            for at in (0, 4)
        ]
        return acc + tirx.Shuffle(halves, list(range(8)))

    return register_dot("tvmcomp.arm.vmlal", 8, 1, ("int8", "int8", "int32"), emit)


def bfdot() -> str:
    """Armv8.6 bfloat16: bfloat16 x bfloat16, two at a time, into float32."""

    def emit(data: Any, weight: Any, acc: PrimExpr) -> PrimExpr:
        return dot_product(acc, data, weight, 4)

    return register_dot("tvmcomp.arm.bfdot", 4, 2, ("uint16", "uint16", "float32"), emit, "local")
