"""A depthwise convolution's dot product over the rows of a window, as a tensor intrinsic."""

# TVMScript's annotations are calls.
# mypy: disable-error-code="valid-type,untyped-decorator"

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvmcomp.tvm_import import cheap_stack_inspection, tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

#: Bytes that a dot product reduces.
DEPTH = 4

#: Gives the new accumulators of (rows of data, weight with four rows a channel, accumulators).
Emit = Callable[[Sequence[Any], Any, Any], Any]


def register_columns(name: str, lanes: int, rows: int, dilation: int, data: str, emit: Emit) -> str:
    """Register ``acc[l] += sum_r data[r * dilation, 0, l] * weight[l, r]`` as ``name``.

    The rows are taken up to four at a time; ``weight`` (s8) has those of a channel side by side.
    Where a dot product has fewer than four, zeros are put into its weight, and what is multiplied
    by them is its first row once more.

    Args:
        name: what the intrinsic's name in TVM's registry begins with; a second registration is
            skipped.
        lanes: channels.
        rows: rows of the window.
        dilation: rows of the data from one of them to the next.
        data: dtype of the data.
        emit: the instructions, for four rows.

    Returns:
        The tensor intrinsic's name.
    """
    name = f"{name}_{lanes}_{rows}_{dilation}"
    if tvm.s_tir.TensorIntrin.get(name, allow_missing=True) is not None:
        return name
    from tvm.script import tirx as T

    extent = (rows - 1) * dilation + 1
    each = -(-rows // -(-rows // DEPTH))
    groups = [range(first, min(first + each, rows)) for first in range(0, rows, each)]

    def weight_of(group: range, weight: Any) -> Any:
        if rows == DEPTH:
            return weight
        zero = lanes * rows
        order = [
            lane * rows + group[row] if row < len(group) else zero
            for lane in range(lanes)
            for row in range(DEPTH)
        ]
        return tirx.Shuffle([weight, tirx.Broadcast(tirx.const(0, "int8"), lanes)], order)

    def emit_rows(present: Sequence[Any], weight: Any, acc: PrimExpr) -> Any:
        for group in groups:
            four = [present[group[row] if row < len(group) else group[0]] for row in range(DEPTH)]
            acc = emit(four, weight_of(group, weight), acc)
        return acc

    with cheap_stack_inspection():

        @T.prim_func(s_tir=True)
        def desc(a: T.handle, b: T.handle, c: T.handle) -> None:
            row_stride, column_stride, lane_stride = T.int32(), T.int32(), T.int32()
            A = T.match_buffer(
                a,
                (extent, 1, lanes),
                data,
                strides=[row_stride, column_stride, 1],
                offset_factor=1,
            )
            B = T.match_buffer(b, (lanes, rows), "int8", strides=[lane_stride, 1], offset_factor=1)
            C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
            with T.sblock("root"):
                T.reads(C[0:lanes], A[0:extent, 0, 0:lanes], B[0:lanes, 0:rows])
                T.writes(C[0:lanes])
                for i in T.serial(0, lanes):
                    for k in T.serial(0, rows):
                        with T.sblock("update"):
                            vi, vk = T.axis.remap("SR", [i, k])
                            C[vi] = C[vi] + T.Cast("int32", A[vk * dilation, 0, vi]) * T.Cast(
                                "int32", B[vi, vk]
                            )

        @T.prim_func(s_tir=True)
        def impl(a: T.handle, b: T.handle, c: T.handle) -> None:
            row_stride, column_stride, lane_stride = T.int32(), T.int32(), T.int32()
            A = T.match_buffer(
                a,
                (extent, 1, lanes),
                data,
                strides=[row_stride, column_stride, 1],
                offset_factor=1,
            )
            B = T.match_buffer(b, (lanes, rows), "int8", strides=[lane_stride, 1], offset_factor=1)
            C = T.match_buffer(c, (lanes,), "int32", offset_factor=1, scope="local")
            with T.sblock("root"):
                T.reads(C[0:lanes], A[0:extent, 0, 0:lanes], B[0:lanes, 0:rows])
                T.writes(C[0:lanes])
                C[T.ramp(T.int32(0), 1, lanes)] = emit_rows(
                    [A.vload([row * dilation, 0, 0], f"{data}x{lanes}") for row in range(rows)],
                    B.vload([0, 0], f"int8x{lanes * rows}"),
                    C.vload([0], f"int32x{lanes}"),
                )

    tvm.s_tir.TensorIntrin.register(name, desc, impl)
    return name
