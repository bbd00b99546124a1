"""Armv8.6's int8 matrix multiply as a tensor intrinsic: two pixels times two channels, 8 deep."""

# TVMScript's annotations are calls.
# mypy: disable-error-code="valid-type,untyped-decorator"

from __future__ import annotations

from tvmcomp.tvm_import import cheap_stack_inspection, tvm

_NAME = "tvmcomp.arm.smmla"


def smmla() -> str:
    """Register ``acc[i, j] += sum_k data[i, k] * weight[j, k]`` over 2 x 2 x 8; gives its name.

    Each of the three is one vector register: s8 rows of data and of weight, int32 sums.
    """
    if tvm.s_tir.TensorIntrin.get(_NAME, allow_missing=True) is not None:
        return _NAME
    from tvm.script import tirx as T

    with cheap_stack_inspection():

        @T.prim_func(s_tir=True)
        def desc(
            A: T.Buffer((2, 8), "int8", offset_factor=1, scope="local"),
            B: T.Buffer((2, 8), "int8", offset_factor=1),
            C: T.Buffer((2, 2), "int32", offset_factor=1, scope="local"),
        ) -> None:
            with T.sblock("root"):
                T.reads(C[0:2, 0:2], A[0:2, 0:8], B[0:2, 0:8])
                T.writes(C[0:2, 0:2])
                for i, j, k in T.grid(2, 2, 8):
                    with T.sblock("update"):
                        vi, vj, vk = T.axis.remap("SSR", [i, j, k])
                        C[vi, vj] = C[vi, vj] + T.Cast("int32", A[vi, vk]) * T.Cast(
                            "int32", B[vj, vk]
                        )

        @T.prim_func(s_tir=True)
        def impl(
            A: T.Buffer((2, 8), "int8", offset_factor=1, scope="local"),
            B: T.Buffer((2, 8), "int8", offset_factor=1),
            C: T.Buffer((2, 2), "int32", offset_factor=1, scope="local"),
        ) -> None:
            with T.sblock("root"):
                T.reads(C[0:2, 0:2], A[0:2, 0:8], B[0:2, 0:8])
                T.writes(C[0:2, 0:2])
                C[0, T.ramp(T.int32(0), 1, 4)] = T.call_llvm_pure_intrin(
                    "int32x4",
                    "llvm.aarch64.neon.smmla.v4i32.v16i8",
                    C.vload([0, 0], "int32x4"),
                    A.vload([0, 0], "int8x16"),
                    B.vload([0, 0], "int8x16"),
                )

    tvm.s_tir.TensorIntrin.register(_NAME, desc, impl)
    return _NAME
