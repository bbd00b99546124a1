"""``vpmaddwd`` over the rows of a window, two at a time: a depthwise convolution's dot product."""

# TVMScript's annotations are calls.
# mypy: disable-error-code="valid-type,untyped-decorator"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.x86.intrinsics import MULTIPLY_ADD
from tvmcomp.tvm_import import cheap_stack_inspection, tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx


def vpmaddwd_columns(lanes: int, rows: int, dilation: int) -> str:
    """Register ``acc[l] += sum_r data[r * dilation, 0, l] * weight[r / 2, l, r % 2]``.

    The bytes of two rows are interleaved channel by channel and widened to words. An odd last row
    is widened to twice that, beside zeros.

    Args:
        lanes: channels.
        rows: rows of the window.
        dilation: rows of the data from one of them to the next.

    Returns:
        The tensor intrinsic's name; a second registration is skipped.
    """
    name = f"tvmcomp.x86.vpmaddwd_columns_{lanes}_{rows}_{dilation}"
    if tvm.s_tir.TensorIntrin.get(name, allow_missing=True) is not None:
        return name
    from tvm.script import tirx as T

    extent, pairs, words = (rows - 1) * dilation + 1, -(-rows // 2), 2 * lanes
    interleaved = [side * lanes + lane for lane in range(lanes) for side in (0, 1)]

    def emit(row: Sequence[Any], weight: Sequence[Any], acc: PrimExpr) -> Any:
        for pair in range(pairs):
            both = row[2 * pair : 2 * pair + 2]
            if len(both) == 2:
                data = tirx.Shuffle(both, interleaved).astype(f"int16x{words}")
            else:
                data = tirx.reinterpret(f"int16x{words}", both[0].astype(f"uint32x{lanes}"))
            right = weight[pair].astype(f"int16x{words}")
            acc = acc + tirx.call_llvm_pure_intrin(
                f"int32x{lanes}", MULTIPLY_ADD[lanes], data, right
            )
        return acc

    with cheap_stack_inspection():

        @T.prim_func(s_tir=True)
        def desc(a: T.handle, b: T.handle, c: T.handle) -> None:
            row_stride, column_stride = T.int32(), T.int32()
            A = T.match_buffer(
                a,
                (extent, 1, lanes),
                "uint8",
                strides=[row_stride, column_stride, 1],
                offset_factor=1,
            )
            B = T.match_buffer(b, (pairs, lanes, 2), "int8", offset_factor=1)
            C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
            with T.sblock("root"):
                T.reads(C[0:lanes], A[0:extent, 0, 0:lanes], B[0:pairs, 0:lanes, 0:2])
                T.writes(C[0:lanes])
                for i in T.serial(0, lanes):
                    for k in T.serial(0, rows):
                        with T.sblock("update"):
                            vi, vk = T.axis.remap("SR", [i, k])
                            C[vi] = C[vi] + T.Cast("int32", A[vk * dilation, 0, vi]) * T.Cast(
                                "int32", B[vk // 2, vi, vk % 2]
                            )

        @T.prim_func(s_tir=True)
        def impl(a: T.handle, b: T.handle, c: T.handle) -> None:
            row_stride, column_stride = T.int32(), T.int32()
            A = T.match_buffer(
                a,
                (extent, 1, lanes),
                "uint8",
                strides=[row_stride, column_stride, 1],
                offset_factor=1,
            )
            B = T.match_buffer(b, (pairs, lanes, 2), "int8", offset_factor=1)
            C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
            with T.sblock("root"):
                T.reads(C[0:lanes], A[0:extent, 0, 0:lanes], B[0:pairs, 0:lanes, 0:2])
                T.writes(C[0:lanes])
                C[T.ramp(T.int32(0), 1, lanes)] = emit(
                    [A.vload([row * dilation, 0, 0], f"uint8x{lanes}") for row in range(rows)],
                    [B.vload([pair, 0, 0], f"int8x{words}") for pair in range(pairs)],
                    C.vload([0], f"int32x{lanes}"),
                )

    tvm.s_tir.TensorIntrin.register(name, desc, impl)
    return name
