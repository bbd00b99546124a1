"""Statements as TVM can print them in CUDA C++: it knows not every vector.

1. A vector of conditions is printed as one of 16-bit integers, which converts to no other: what
   is cast is a choice of 1 or 0 instead.
2. A vector of one 8-bit number is printed of constants only: a loop with such a number that does
   not change in it is unrolled.
3. What all of a vector's elements are chosen by is printed as a vector of the wrong type: a choice
   by a condition that does not change in a loop is ``if_then_else``, which keeps the condition one.
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
    return tvm_ffi.structural_map(chosen, ((tirx.For, _vectorized),))


def _of_condition(cast: Any) -> Any:
    """Rule 1."""
    if str(cast.value.ty.dtype) != "bool":
        return cast
    one, zero = (tirx.const(value, cast.ty.dtype) for value in (1, 0))
    return tirx.Select(cast.value, one, zero)


def _vectorized(loop: Any) -> Any:
    """Rules 2 and 3."""
    if loop.kind != tirx.ForKind.VECTORIZED:
        return loop
    fixed: list[Any] = []

    def see(value: Any) -> None:
        if tvm.DataType(str(value.ty.dtype)).bits == 8 and not mentions(value, loop.loop_var):
            fixed.append(value)

    def choose(select: Any) -> Any:
        if mentions(select.condition, loop.loop_var):
            return select
        return tirx.if_then_else(select.condition, select.true_value, select.false_value)

    kinds = (Load, tirx.Cast, tirx.Select)
    tvm_ffi.structural_walk(loop.body, tuple((kind, see) for kind in kinds))
    body = tvm_ffi.structural_map(loop.body, ((tirx.Select, choose),))
    kind = tirx.ForKind.UNROLLED if fixed else loop.kind
    return tirx.For(loop.loop_var, loop.min, loop.extent, kind, body)
