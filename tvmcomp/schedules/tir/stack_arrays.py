"""Small temporary arrays of kernels live on the stack.

TVM takes every temporary array of ``local`` scope, and every one of 1 KiB and more, from its
workspace allocator: two calls for each time that its loop is entered, and an array that LLVM can't
turn into registers.
"""

from __future__ import annotations

import math
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, PrimFunc

tirx = tvm.tirx

#: Threads of a pool have stacks of a few hundred KiB or more; a kernel has a handful of arrays.
_MOST_BYTES = 32 * 1024
#: Bytes. TVM aligns an array on the stack to 16 and one of its workspace to 64: an array that asks
#: for more than the usual must not split its rows over cache lines, and stays with the workspace.
_USUAL_ALIGNMENT = 64
#: The annotation by which TVM's own pass leaves an array to LLVM.
_LEAVE_ALONE = "disable_lower_builtin"


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.StackArrays")  # type: ignore[untyped-decorator]
def stack_arrays(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """Mark the small arrays of ``func``, in its last form for the host."""
    body = tvm_ffi.structural_map(func.body, ((tirx.AllocBuffer, _marked),))
    return func.with_body(body)


def _marked(node: Any) -> Any:
    sizes = node.buffer.shape
    if int(node.buffer.ty.data_alignment) > _USUAL_ALIGNMENT:
        return node
    if not all(isinstance(size, tirx.IntImm) for size in sizes):
        return node
    count = math.prod(int(size) for size in sizes)
    dtype = tvm.DataType(str(node.buffer.ty.dtype))
    if not 0 < count * dtype.lanes * -(-dtype.bits // 8) <= _MOST_BYTES:
        return node
    mark = {_LEAVE_ALONE: tirx.IntImm("int32", 1)}
    return tirx.AllocBuffer(node.buffer, {**(node.annotations or {}), **mark})
