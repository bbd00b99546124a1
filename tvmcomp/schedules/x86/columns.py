"""VNNI over the rows of a window: a depthwise convolution's dot product as a tensor intrinsic."""

# TVMScript's annotations are calls.
# mypy: disable-error-code="valid-type,untyped-decorator"

from __future__ import annotations

from typing import Any

from tvmcomp.tvm_import import cheap_stack_inspection, tvm

tirx = tvm.tirx


def vpdpbusd_columns(lanes: int, rows: int) -> str:
    """Register ``acc[lanes] += sum_rows data[rows, 1, lanes] * weight[lanes, rows]``.

    One to four rows of ``lanes`` channels (u8) are interleaved channel by channel; the weight (s8)
    is stored so. A byte permutation gives it a zero for each row that is not there.

    Returns:
        The tensor intrinsic's name.
    """
    name = f"tvmcomp.x86.vpdpbusd_columns_{lanes}_{rows}"
    if tvm.s_tir.TensorIntrin.get(name, allow_missing=True) is not None:
        return name
    from tvm.script import tirx as T

    order = [row * lanes + lane for lane in range(lanes) for row in range(4)]
    fours = [
        lane * rows + row if row < rows else lanes * rows + lane
        for lane in range(lanes)
        for row in range(4)
    ]

    def emit(row: list[Any], weight: Any, acc: Any) -> Any:
        if rows < 4:
            zeros = tirx.Broadcast(tirx.IntImm("int8", 0), lanes * (4 - rows))
            weight = tirx.Shuffle([weight, zeros], fours)
        return tirx.call_llvm_pure_intrin(
            f"int32x{lanes}",
            f"llvm.x86.avx512.vpdpbusd.{lanes * 32}",
            acc,
            # A row that is not there is multiplied by zero: any other serves.
            tirx.Shuffle([*row, *row[:1] * (4 - rows)], order),
            weight,
        )

    with cheap_stack_inspection():

        @T.prim_func(s_tir=True)
        def desc(a: T.handle, b: T.handle, c: T.handle) -> None:
            row_stride, column_stride, lane_stride = T.int32(), T.int32(), T.int32()
            A = T.match_buffer(
                a,
                (rows, 1, lanes),
                "uint8",
                strides=[row_stride, column_stride, 1],
                offset_factor=1,
            )
            B = T.match_buffer(b, (lanes, rows), "int8", strides=[lane_stride, 1], offset_factor=1)
            C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
            with T.sblock("root"):
                T.reads(C[0:lanes], A[0:rows, 0, 0:lanes], B[0:lanes, 0:rows])
                T.writes(C[0:lanes])
                for i in T.serial(0, lanes):
                    for k in T.serial(0, rows):
                        with T.sblock("update"):
                            vi, vk = T.axis.remap("SR", [i, k])
                            C[vi] = C[vi] + T.Cast("int32", A[vk, 0, vi]) * T.Cast(
                                "int32", B[vi, vk]
                            )

        @T.prim_func(s_tir=True)
        def impl(a: T.handle, b: T.handle, c: T.handle) -> None:
            row_stride, column_stride, lane_stride = T.int32(), T.int32(), T.int32()
            A = T.match_buffer(
                a,
                (rows, 1, lanes),
                "uint8",
                strides=[row_stride, column_stride, 1],
                offset_factor=1,
            )
            B = T.match_buffer(b, (lanes, rows), "int8", strides=[lane_stride, 1], offset_factor=1)
            C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
            with T.sblock("root"):
                T.reads(C[0:lanes], A[0:rows, 0, 0:lanes], B[0:lanes, 0:rows])
                T.writes(C[0:lanes])
                C[T.ramp(T.int32(0), 1, lanes)] = emit(
                    [A.vload([row, 0, 0], f"uint8x{lanes}") for row in range(rows)],
                    B.vload([0, 0], f"int8x{lanes * rows}"),
                    C.vload([0], f"int32x{lanes}"),
                )

    tvm.s_tir.TensorIntrin.register(name, desc, impl)
    return name
