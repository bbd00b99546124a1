"""The x86 dot products as tensor intrinsics. Each function registers one and gives its name."""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.bfloat16 import dot_product
from tvmcomp.schedules.dot_intrinsic import register_dot
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx


def vpdpbusd(lanes: int) -> str:
    """AVX-512 VNNI (16 lanes) or AVX-VNNI (8): u8 x s8, four at a time, into int32.

    LLVM 22 takes the multiplicands as byte vectors (TVM's own ``dot_16x4_vnni`` still passes
    int32 ones, and fails verification).
    """
    intrinsic = f"llvm.x86.avx512.vpdpbusd.{lanes * 32}"

    def emit(data: Any, weight: Any, acc: PrimExpr) -> PrimExpr:
        four = tirx.reinterpret("int32", data)
        broadcast = tirx.reinterpret(f"uint8x{lanes * 4}", tirx.Broadcast(four, lanes))
        return tirx.call_llvm_pure_intrin(f"int32x{lanes}", intrinsic, acc, broadcast, weight)

    return register_dot(f"tvmcomp.x86.vpdpbusd_{lanes}", lanes, 4, ("uint8", "int8", "int32"), emit)


#: ``vpmaddwd`` by the lanes of its result.
MULTIPLY_ADD = {
    16: "llvm.x86.avx512.pmaddw.d.512",
    8: "llvm.x86.avx2.pmadd.wd",
    4: "llvm.x86.sse2.pmadd.wd",
}


def multiply_add(lanes: int) -> str:
    """The mnemonic of ``vpmaddwd`` in the assembly: vectors of four lanes are SSE's."""
    return "pmaddwd" if lanes == 4 else "vpmaddwd"


def vpmaddwd_words(lanes: int) -> str:
    """Without VNNI: multiply in 16 bits and add pairs into int32 (``vpmaddwd``), two words a step.

    The data were widened before, for all the products that a number of them is in; a vector of the
    weights is widened as it is loaded (``vpmovsxbw``). ``vpmaddubsw`` would take bytes, but
    saturates its 16-bit sums: 255 * 127 * 2 does not fit. Widening is exact.
    """
    words = lanes * 2

    def emit(data: Any, weight: Any, acc: PrimExpr) -> PrimExpr:
        pair = tirx.Broadcast(tirx.reinterpret("int32", data), lanes)
        left = tirx.reinterpret(f"int16x{words}", pair)
        right = weight.astype(f"int16x{words}")
        return acc + tirx.call_llvm_pure_intrin(f"int32x{lanes}", MULTIPLY_ADD[lanes], left, right)

    dtypes = ("int16", "int8", "int32")
    return register_dot(f"tvmcomp.x86.vpmaddwd_words_{lanes}", lanes, 2, dtypes, emit)


def vpmaddwd(lanes: int) -> str:
    """The same, four bytes a step, of data that are used too few times to be widened before.

    Even and odd bytes are widened in their places, by shifts and a mask: what is loaded is in order
    for two instructions, and neither operand is permuted.
    """
    intrinsic = MULTIPLY_ADD[lanes]
    words = lanes * 2

    def emit(data: Any, weight: Any, acc: PrimExpr) -> PrimExpr:
        def constant(value: int, dtype: str) -> PrimExpr:
            return tirx.Broadcast(tirx.const(value, dtype), words)

        four = tirx.Broadcast(tirx.reinterpret("int32", data), lanes)
        unsigned = tirx.reinterpret(f"uint16x{words}", four)
        signed = tirx.reinterpret(f"int16x{words}", weight)
        eight = constant(8, "int16")
        pairs = [
            (unsigned & constant(0xFF, "uint16"), (signed << eight) >> eight),
            (unsigned >> constant(8, "uint16"), signed >> eight),
        ]
        for left, right in pairs:
            left = tirx.reinterpret(f"int16x{words}", left)
            acc = acc + tirx.call_llvm_pure_intrin(f"int32x{lanes}", intrinsic, left, right)
        return acc

    return register_dot(f"tvmcomp.x86.vpmaddwd_{lanes}", lanes, 4, ("uint8", "int8", "int32"), emit)


def vdpbf16ps() -> str:
    """AVX-512 BF16: bfloat16 x bfloat16, two at a time, into float32."""

    def emit(data: Any, weight: Any, acc: PrimExpr) -> PrimExpr:
        return dot_product(acc, data, weight, 16)

    return register_dot("tvmcomp.x86.vdpbf16ps", 16, 2, ("uint16", "uint16", "float32"), emit)
