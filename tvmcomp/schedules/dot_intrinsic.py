"""The tensor intrinsic of a dot product, registered once, however often it is asked for."""

# TVMScript's annotations are calls.
# mypy: disable-error-code="valid-type,untyped-decorator"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvmcomp.schedules.bfloat16 import widen
from tvmcomp.tvm_import import cheap_stack_inspection, tvm

#: Gives the new accumulators of (data, weight, accumulators): vectors of TIR.
Emit = Callable[[Any, Any, Any], Any]
#: What each registered intrinsic emits, for loops that are written out and not scheduled.
EMITTED: dict[str, Emit] = {}


def register_dot(
    name: str,
    lanes: int,
    depth: int,
    dtypes: tuple[str, str, str],
    emit: Emit,
    data_scope: str = "global",
) -> str:
    """Register ``acc[lanes] += sum_depth data[depth] * weight[lanes, depth]`` as ``name``.

    Args:
        name: the intrinsic's name in TVM's registry; a second registration is skipped.
        lanes: output channels.
        depth: input channels reduced at once.
        dtypes: of data, weight and accumulator.
        emit: given the data vector (``depth`` wide), the weight vector (``lanes * depth`` wide) and
            the accumulator vector (``lanes`` wide) as TIR expressions, gives the new accumulator.
        data_scope: ``local`` where the schedule stages the data in registers.

    Returns:
        ``name``.
    """
    if tvm.s_tir.TensorIntrin.get(name, allow_missing=True) is not None:
        return name
    from tvm.script import tirx as T

    EMITTED[name] = emit
    data, weight, acc = dtypes
    with cheap_stack_inspection():

        @T.prim_func(s_tir=True)
        def desc(
            A: T.Buffer((depth,), data, offset_factor=1, scope=data_scope),
            B: T.Buffer((lanes, depth), weight, offset_factor=1),
            C: T.Buffer((lanes,), acc, offset_factor=1, scope="local"),
        ) -> None:
            with T.sblock("root"):
                T.reads(C[0:lanes], A[0:depth], B[0:lanes, 0:depth])
                T.writes(C[0:lanes])
                for i in T.serial(0, lanes):
                    for k in T.serial(0, depth):
                        with T.sblock("update"):
                            vi, vk = T.axis.remap("SR", [i, k])
                            C[vi] = C[vi] + widen(A[vk], data, acc) * widen(B[vi, vk], weight, acc)

        # TVM drops the block axis of a loop that runs once.
        @T.prim_func(s_tir=True)
        def desc_of_depth_one(
            A: T.Buffer((1,), data, offset_factor=1, scope=data_scope),
            B: T.Buffer((lanes, 1), weight, offset_factor=1),
            C: T.Buffer((lanes,), acc, offset_factor=1, scope="local"),
        ) -> None:
            with T.sblock("root"):
                T.reads(C[0:lanes], A[0:1], B[0:lanes, 0:1])
                T.writes(C[0:lanes])
                for i in T.serial(0, lanes):
                    with T.sblock("update"):
                        vi = T.axis.spatial(lanes, i)
                        C[vi] = C[vi] + widen(A[0], data, acc) * widen(B[vi, 0], weight, acc)

        @T.prim_func(s_tir=True)
        def impl(
            A: T.Buffer((depth,), data, offset_factor=1, scope=data_scope),
            B: T.Buffer((lanes, depth), weight, offset_factor=1),
            C: T.Buffer((lanes,), acc, offset_factor=1, scope="local"),
        ) -> None:
            with T.sblock("root"):
                T.reads(C[0:lanes], A[0:depth], B[0:lanes, 0:depth])
                T.writes(C[0:lanes])
                C[T.ramp(T.int32(0), 1, lanes)] = emit(
                    A.vload([0], f"{data}x{depth}" if depth > 1 else data),
                    B.vload([0, 0], f"{weight}x{lanes * depth}"),
                    C.vload([0], f"{acc}x{lanes}"),
                )

    described = desc if depth > 1 else desc_of_depth_one
    tvm.s_tir.TensorIntrin.register(name, described, impl)
    return name
