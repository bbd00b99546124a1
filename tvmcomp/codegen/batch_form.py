"""Whether a batch is computed in parts, or at once: what has to be read more, images or weights."""

from __future__ import annotations

import math
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.passes.lowered import Lowered
from tvmcomp.passes.rewriter import CALLS, main_bindings, op_name
from tvmcomp.tvm_import import tvm

#: A byte that a kernel writes is read again, and moves others out of the caches.
_WEIGHT_OF_WRITTEN = 16


def reads_mostly_weights(lowered: Lowered) -> bool:
    """Whether an inference reads far more bytes of weights than it writes of results."""
    weights = sum(array.nbytes for array in lowered.constants)
    written = sum(
        _nbytes(binding.var.ty)
        for binding in main_bindings(lowered.looped) or []
        if op_name(binding.value) in CALLS
    )
    return weights > _WEIGHT_OF_WRITTEN * written


def _nbytes(ty: Any) -> int:
    if isinstance(ty, tvm.relax.TupleType):
        return sum(map(_nbytes, ty.fields))
    elements = math.prod(int(size) for size in ty.shape)
    return -(-elements * tvm_ffi.dtype(str(ty.dtype)).bits // 8)
