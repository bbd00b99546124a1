"""Give kernels the C signature ``int32_t name(const void *, …, void *)``.

TVM has no switch for it: its pass MakePackedAPI makes every kernel a function that unpacks and
checks DLPack tensors, three quarters of the code of a small network. This pass takes its place at
the same point of TVM's own pipeline, for kernels whose arguments the driver vouches for.
"""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import patch

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, Module, PrimFunc

ir, tirx = tvm.ir, tvm.tirx

#: The name of the pipeline, for ``tvm.tirx.build``.
PLAIN = "tvmcomp_plain"
_patching = threading.Lock()


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.PlainSignature")  # type: ignore[untyped-decorator]
def plain_signature(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """A kernel over pointers to the elements of its buffers; it returns 0, or what failed in it."""
    data = [_pointer(buffer) for buffer in func.params]
    body = tirx.SeqStmt(
        [
            *(stmt for pair in zip(func.params, data, strict=True) for stmt in _declared(*pair)),
            # Loops that threads share are named after it.
            tirx.AttrStmt(_int32(0), "compute_scope", _name(func), func.body),
            tirx.stmt.Return(_int32(0)),
        ]
    )
    # Without these LLVM takes an element's alignment for the vector's.
    for buffer, pointer in reversed(list(zip(func.params, data, strict=True))):
        alignment = _int32(int(buffer.ty.data_alignment))
        for var in (pointer, buffer):
            body = tirx.AttrStmt(var, "storage_alignment", alignment, body)
    # What workspace calls of the kernel name as their device: the CPU.
    body = tirx.AttrStmt("default", "device_type", _int32(1), body)
    body = tirx.AttrStmt("default", "device_id", _int32(0), body)
    plain = tirx.PrimFunc(data, body, ir.PrimType("int32"), attrs=func.attrs)
    target = func.attrs["target"]
    return plain.with_attr("target", target.host or target).with_attr("tirx.noalias", True)


def _pointer(buffer: Buffer) -> Any:
    element = ir.PrimType(str(buffer.ty.dtype))
    return tirx.Var(buffer.name, ir.PointerType(element, "global"))


def _declared(buffer: Buffer, data: Any) -> list[Any]:
    """Statements that make ``buffer`` the compact tensor at ``data``."""
    kind, bound, stride = buffer.ty, [], 1
    strides: list[int] = []
    for size in reversed(kind.shape):
        strides.insert(0, stride)
        stride *= int(size)
    # TVM leaves them open in kernels that it writes itself (a running sum).
    for number, value in ((kind.elem_offset, 0), *zip(kind.strides, strides, strict=False)):
        if isinstance(number, tirx.Var):
            bound.append(tirx.stmt.Bind(number, tirx.IntImm(str(number.ty.dtype), value)))
    return [*bound, tirx.DeclBuffer(buffer, data=data)]


def _name(func: PrimFunc) -> Any:
    return ir.StringImm(f"{func.attrs['global_symbol']}_compute_")


def _int32(value: int) -> Any:
    return tirx.IntImm("int32", value)


def _pipeline() -> Any:
    passes, finalize_host, finalize_device = tirx.get_tir_pipeline("s_tir")

    @tvm.transform.module_pass(opt_level=0)  # type: ignore[untyped-decorator]
    def plain(mod: Module, _context: Any) -> Module:
        with _patching, patch.object(tirx.transform, "MakePackedAPI", lambda: plain_signature):
            return passes(mod)

    return plain, finalize_host, finalize_device


tirx.register_tir_pipeline(PLAIN, _pipeline)
