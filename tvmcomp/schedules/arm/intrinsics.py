"""NEON's dot products and widening multiplies as tensor intrinsics.

Each function registers one and gives its name.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.registry import register_dot
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx


def sdot() -> str:
    """Armv8.2 dot product: s8 x s8, four at a time, into int32."""

    def emit(data: Any, weight: Any, acc: Any) -> Any:
        four = tirx.reinterpret("int32", data)
        broadcast = tirx.reinterpret("int8x16", tirx.Broadcast(four, 4))
        return tirx.call_llvm_pure_intrin(
            "int32x4", "llvm.aarch64.neon.sdot.v4i32.v16i8", acc, broadcast, weight
        )

    return register_dot("tvmcomp.arm.sdot", 4, 4, ("int8", "int8", "int32"), emit)


def smlal(is64: bool) -> str:
    """Any NEON: widen to 16 bits, multiply into 32 and add (``smlal``; ``vmlal`` on Armv7)."""
    intrinsic = "llvm.aarch64.neon.smull.v4i32" if is64 else "llvm.arm.neon.vmulls.v4i32"

    def emit(data: Any, weight: Any, acc: Any) -> Any:
        wide = weight.astype("int16x8")
        left = tirx.Broadcast(data.astype("int16"), 4)
        halves = [
            tirx.call_llvm_pure_intrin(
                "int32x4", intrinsic, tirx.Shuffle([wide], list(range(at, at + 4))), left
            )
            for at in (0, 4)
        ]
        return acc + tirx.Shuffle(halves, list(range(8)))

    bits = 64 if is64 else 32
    return register_dot(f"tvmcomp.arm.smlal_{bits}", 8, 1, ("int8", "int8", "int32"), emit)
