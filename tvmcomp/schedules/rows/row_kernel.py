"""Loops for stages that share their outer axes: row by row, each row computed whole, in vectors.

Softmax, layer normalization and the like are several stages over the same rows. One loop over the
rows computes all of a row before the next, so that its intermediate results stay in the nearest
cache, and memory is read and written once. A single stage is the same with one stage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.rows.loop_nest import (
    PARALLEL,
    SERIAL,
    UNROLLED,
    array,
    index,
    loop,
    nest,
    sequence,
    unravel,
    vectors,
    with_arrays,
)
from tvmcomp.schedules.rows.period import period_of
from tvmcomp.schedules.rows.row_reduction import StageLoops, reduce_into_vectors, reduce_vectors
from tvmcomp.schedules.stages import TINY, Load, Stage, loads, mentions, substitute
from tvmcomp.schedules.tir.byte_table import has_byte_tables, is_byte_table
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr, Var

tirx = tvm.tirx


def row_kernel(
    stages: Sequence[Stage],
    rank: int,
    temporary: set[Any],
    target: TargetDescription,
    parallel: bool,
) -> Any:
    """The statement that computes ``stages``, whose first ``rank`` axes are the same rows.

    Args:
        stages: in order; each reads others' results of its own row alone.
        rank: leading axes that are rows.
        temporary: buffers of the stages that nothing else reads: they shrink to one row.
        target: the device.
        parallel: run on all threads.
    """
    extents = [axis.extent for axis in stages[0].dims[:rank]]
    count = math.prod(extents)
    rows = _Rows(rank)
    rows.shrink(stages, temporary)
    many = count >= target.cores

    def row(at: PrimExpr) -> Any:
        position = unravel(at, extents)
        # Of fewer rows than threads, the vectors are spread instead.
        kind = PARALLEL if parallel and not many else SERIAL
        body = [_stage(stage, rows, position, target, kind) for stage in stages]
        return with_arrays(list(rows.arrays.values()), sequence(body))

    return loop(count, row, PARALLEL if parallel and many else SERIAL, "row")


@dataclass
class _Rows:
    """One row of each temporary buffer.

    Attributes:
        rank: leading axes that are rows.
        arrays: buffer -> the array that holds one row of it.
        replaced: buffer -> the result in whose place it is computed.
    """

    rank: int
    arrays: dict[Any, Any] = field(default_factory=dict)
    replaced: dict[Any, Any] = field(default_factory=dict)

    def shrink(self, stages: Sequence[Stage], temporary: set[Any]) -> None:
        """Give each temporary buffer an array of one row, or the place of the result."""
        for stage in stages:
            if stage.buffer not in temporary:
                continue
            if not self.replaced and _fits_in_place(stage, stages[-1]):
                self.replaced[stage.buffer] = stages[-1].buffer
            else:
                shape = [axis.extent for axis in stage.dims[self.rank :]]
                dtype = str(stage.buffer.ty.dtype)
                self.arrays[stage.buffer] = array(shape, dtype, stage.buffer.name)

    def local(self, expr: PrimExpr) -> Any:
        """``expr``, loading from the arrays instead of the temporary buffers."""

        def load(node: Any) -> Any:
            if node.source in self.replaced:
                return tirx.BufferLoad(self.replaced[node.source], node.indices)
            row = self.arrays.get(node.source)
            return node if row is None else tirx.BufferLoad(row, self.within(node.indices))

        return tvm_ffi.structural_map(expr, ((Load, load),))

    def within(self, indices: Sequence[PrimExpr]) -> list[Any]:
        """Indices of a temporary buffer as those of its array."""
        return list(indices)[self.rank :] or [index(0)]

    def store(self, buffer: Buffer, value: PrimExpr, indices: Sequence[PrimExpr]) -> Any:
        """Store to ``buffer`` or to its array."""
        row = self.arrays.get(buffer)
        if row is None:
            return tirx.BufferStore(self.replaced.get(buffer, buffer), value, list(indices))
        return tirx.BufferStore(row, value, self.within(indices))


def _fits_in_place(stage: Stage, last: Stage) -> bool:
    """Whether ``last`` reads each element of ``stage`` right before it writes its own there, so
    that both may be the same memory: one row less in the cache.
    """
    if stage is last or stage.reduced or last.reduced:
        return False
    if stage.buffer.ty.dtype != last.buffer.ty.dtype:
        return False
    if [axis.extent for axis in stage.dims] != [axis.extent for axis in last.dims]:
        return False
    reads = [load for load in loads(last.value) if load.source.same_as(stage.buffer)]
    return bool(reads) and all(
        axis.extent == 1 or i.same_as(axis.var)
        for load in reads
        for i, axis in zip(load.indices, last.dims, strict=True)
    )


def _stage(
    stage: Stage, rows: _Rows, position: Sequence[PrimExpr], target: TargetDescription, kind: Any
) -> Any:
    """The statement for one stage of the row at ``position``."""
    row = {axis.var: at for axis, at in zip(stage.dims[: rows.rank], position, strict=True)}

    def value(at: dict[Any, Any]) -> Any:
        return rows.local(substitute(stage.value, {**row, **at}))

    def store(result: Any, at: dict[Any, Any]) -> Any:
        known = {**row, **at}
        return rows.store(stage.buffer, result, [known[axis.var] for axis in stage.dims])

    lanes = stage.lanes(target)
    loops = StageLoops(stage, stage.dims[rows.rank :], lanes, kind, value, store)
    if not stage.reduced:
        return _element_wise(loops, target)
    if stage.contiguous is None and loops.inner:
        statement = reduce_into_vectors(loops)
    else:
        statement = reduce_vectors(loops, stage.contiguous or stage.reduced[-1])
    for key, mark in stage.annotations.items():
        statement = tirx.AttrStmt(tirx.const(0, "int32"), key, mark, statement)
    return statement


def _element_wise(loops: StageLoops, target: TargetDescription) -> Any:
    if not loops.inner:
        return loops.store(loops.value({}), {})
    outer, last = loops.outer_and_last()

    def body(position: list[PrimExpr]) -> Any:
        at = {axis.var: i for axis, i in zip(outer, position, strict=True)}

        def element(i: PrimExpr) -> Any:
            here = {**at, last.var: i}
            return loops.store(loops.value(here), here)

        if last.extent <= TINY:  # LLVM makes vectors of the loop around it.
            return loop(last.extent, element, UNROLLED)
        if any(not _in_vectors(load, target) for load in _look_ups(loops.stage.value, last.var)):
            return loop(last.extent, element)
        period = period_of(loops.stage, last)
        if period == last.extent or period < max(loops.lanes // 2, TINY + 1):
            return vectors(last.extent, loops.lanes, element, loops.kind)

        def run(base: Any) -> Any:
            """The vectors of one period, in which the indices' remainders grow evenly."""
            return vectors(period, loops.lanes, lambda i: element(base * period + i))

        return loop(last.extent // period, run, loops.kind, "period")

    return nest([axis.extent for axis in outer], body)


def _look_ups(value: PrimExpr, var: Var) -> list[Any]:
    """The loads of ``value`` from a place that was loaded, other for each value of ``var``."""
    return [
        load
        for load in loads(value)
        if any(mentions(inner, var) for i in load.indices for inner in loads(i))
    ]


def _in_vectors(load: Any, target: TargetDescription) -> bool:
    """Whether a look-up is one instruction a vector; others load one by one anyhow."""
    return is_byte_table(load) and has_byte_tables(target)
