"""Statements as TVM can print them in CUDA C++: it knows not every vector.

1. A vector of conditions is printed as one of 16-bit integers, which converts to no other: what
   is cast is a choice of 1 or 0 instead.
2. A vector of one 8-bit number is printed of constants only: a loop with such a number that does
   not change in it is unrolled.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.stages import Load, mentions
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx


def printable(statement: Any) -> Any:
    """``statement`` by the rules above."""
    chosen = tvm_ffi.structural_map(statement, ((tirx.Cast, _of_condition),))
    return tvm_ffi.structural_map(chosen, ((tirx.For, _of_bytes),))


def _of_condition(cast: Any) -> Any:
    """Rule 1."""
    if str(cast.value.ty.dtype) != "bool":
        return cast
    one, zero = (tirx.const(value, cast.ty.dtype) for value in (1, 0))
    return tirx.Select(cast.value, one, zero)


def _of_bytes(loop: Any) -> Any:
    """Rule 2."""
    if loop.kind != tirx.ForKind.VECTORIZED:
        return loop
    fixed: list[Any] = []

    def see(value: Any) -> None:
        if tvm.DataType(str(value.ty.dtype)).bits == 8 and not mentions(value, loop.loop_var):
            fixed.append(value)

    kinds = (Load, tirx.Cast, tirx.Select)
    tvm_ffi.structural_walk(loop.body, tuple((kind, see) for kind in kinds))
    if not fixed:
        return loop
    return tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.UNROLLED, loop.body)
