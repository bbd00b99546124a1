"""Rows: softmax, normalization and sums, by a thread, a warp or a block for each row.

The threads of a row take neighbouring elements, reduce their own in a register, and exchange what
they have: first within a warp (``shfl``), then, where a block has a row, through shared memory.
A row that is short, or whose elements lie apart, is for one thread: its neighbours have the
neighbouring rows.
What is computed on the way is computed again where it is needed: a row is in the cache by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.cuda.instructions import exchange, put, synchronize, take
from tvmcomp.schedules.cuda.kernel import (
    BUSY,
    WARP,
    array,
    launch,
    number,
    repeat,
    share,
    when,
    with_arrays,
)
from tvmcomp.schedules.cuda.rows import Rows
from tvmcomp.schedules.cuda.side import extent, indices
from tvmcomp.schedules.rows.loop_nest import sequence
from tvmcomp.schedules.stages import Stage, substitute
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr, Schedule

tirx = tvm.tirx

#: Threads of a row: one, a warp, or a block.
_ROW_THREADS = (1, WARP, 128, 256, 512)
#: Threads of a block whose warps have a row each.
_BLOCK = 128
#: Elements that each thread should have.
_EACH = 8
#: A thread has no more of them alone, where others would be idle for it.
_LONGEST_ALONE = 256


@dataclass(frozen=True)
class RowChoice:
    """Threads of a row."""

    threads: int


def choose_row(sch: Schedule, rows: Rows, target: TargetDescription, decide: Decide) -> RowChoice:
    """The choice for ``rows``; see :func:`~tvmcomp.schedules.cuda.schedule_kernel`."""
    length = max(extent(stage.reduced) for stage in rows.reductions)
    best = next((n for n in _ROW_THREADS if n * _EACH >= length), _ROW_THREADS[-1])
    enough = extent(rows.lead) >= target.gpu.multiprocessors * BUSY
    if not rows.contiguous and (enough or length <= _LONGEST_ALONE):
        best = 1
    return RowChoice(decide(sch, "row_threads", _ROW_THREADS, best))


def row_kernel(rows: Rows, choice: RowChoice) -> list[Any]:
    """The launch that computes ``rows``."""
    return _Emitter(rows, choice.threads).launches()


class _Emitter:
    def __init__(self, rows: Rows, threads: int) -> None:
        self.rows, self.threads = rows, threads
        self.block = max(_BLOCK, threads)
        self.at_once = self.block // threads  # rows of a block

    def launches(self) -> list[Any]:
        blocks = -(-extent(self.rows.lead) // self.at_once)
        return [launch([blocks], self.block, self.body)]

    def body(self, at: list[Any], thread: PrimExpr) -> Any:
        self.thread = thread
        self.lane = tirx.floormod(thread, self.threads)
        row = at[0] * self.at_once + tirx.floordiv(thread, self.threads)
        # All threads of a warp exchange: those of a row beyond the last repeat it.
        count = extent(self.rows.lead)
        inside = row < count
        row = tirx.min(row, count - 1) if count % self.at_once else row
        self.known = indices(self.rows.lead, row)
        self.found: dict[Any, Buffer] = {}
        dtypes = {str(stage.buffer.dtype) for stage in self.rows.reductions}
        self.received = {dtype: array(1, dtype, f"received_{dtype}") for dtype in sorted(dtypes)}
        self.memory = array(self.block // WARP * 8, "uint8", "shared", "shared.dyn")
        statements = [self.reduced(stage) for stage in self.rows.reductions]
        arrays = [*self.found.values()]
        if self.threads > 1:
            arrays += self.received.values()
        if self.threads > WARP:
            arrays.append(self.memory)
        statements += [
            when([inside] if count % self.at_once else [], self.result(stage))
            for stage in self.rows.results
        ]
        return with_arrays(arrays, statements)

    def value(self, stage: Stage, known: dict[Any, Any]) -> Any:
        """The element of ``stage``, what was reduced before it taken from the registers."""
        value = stage.value
        for buffer, found in self.found.items():
            value = self.rows.replaced(value, buffer, tirx.BufferLoad(found, [number(0)]))
        return substitute(value, known)

    def at(self, stage: Stage, axes: Sequence[Any], item: PrimExpr) -> dict[Any, Any]:
        """The variables of ``stage`` at ``item`` of its own ``axes``."""
        lead = {
            axis.var: number(0) if own is None else self.known[own.var]
            for axis, own in self.rows.place[stage.name]
        }
        return {**lead, **indices(axes, item)}

    def reduced(self, stage: Stage) -> Any:
        """``stage`` in a register of each thread of the row."""
        dtype, combine = str(stage.buffer.dtype), stage.combine
        assert combine is not None
        total = array(1, dtype, f"{stage.name}_total")
        own = tirx.BufferLoad(total, [number(0)])
        other = tirx.BufferLoad(self.received[dtype], [number(0)])

        def store(value: PrimExpr) -> Any:
            return tirx.BufferStore(total, value, [number(0)])

        def merge() -> Any:
            return store(combine(own, other))

        def add(item: PrimExpr) -> Any:
            return store(combine(own, self.value(stage, self.at(stage, stage.reduced, item))))

        mine = share(extent(stage.reduced), self.threads, self.lane, add)
        nbytes = int(tvm.DataType(dtype).bits) // 8
        statements = [store(stage.init), mine]
        for distance in (16, 8, 4, 2, 1) if self.threads > 1 else ():
            statements += [
                exchange(self.received[dtype], total, nbytes, distance),
                merge(),
            ]
        if self.threads > WARP:
            statements += self.across_warps(
                total, dtype, nbytes, lambda: store(combine(own, other))
            )
        self.found[stage.buffer] = total
        return sequence(statements)

    def across_warps(
        self, total: Buffer, dtype: str, nbytes: int, add: Callable[[], Any]
    ) -> list[Any]:
        """Combine what the warps of a row have; every thread gets the same."""
        warp = tirx.floordiv(self.thread, WARP)
        first = tirx.floormod(self.thread, WARP) < 1
        warps = self.threads // WARP
        statements = [
            synchronize(),
            when([first], put(self.memory, warp * nbytes, total, number(0), nbytes)),
            synchronize(),
            take(total, number(0), self.memory, number(0), nbytes),
        ]

        def next_warp(i: PrimExpr) -> Any:
            at = (i + 1) * nbytes
            taken = take(self.received[dtype], number(0), self.memory, at, nbytes)
            return sequence([taken, add()])

        return [*statements, repeat(warps - 1, next_warp, tirx.ForKind.UNROLLED)]

    def result(self, stage: Stage) -> Any:
        """The row's elements of a result."""
        axes = self.rows.own(stage)

        def store(item: PrimExpr) -> Any:
            known = self.at(stage, axes, item)
            to = [known[axis.var].astype(str(axis.var.ty.dtype)) for axis in stage.dims]
            return tirx.BufferStore(stage.buffer, self.value(stage, known), to)

        return share(extent(axes), self.threads, self.lane, store)
