"""Element-wise functions: each thread computes some neighbouring elements, as vectors."""

from __future__ import annotations

from math import prod
from typing import Any

from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.cuda.kernel import THREADS, launch, number, repeat, when
from tvmcomp.schedules.cuda.side import indices
from tvmcomp.schedules.stages import Stage, substitute
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Schedule

tirx = tvm.tirx

_TOGETHER = (4, 2, 1)


def choose_together(sch: Schedule, stage: Stage, decide: Decide) -> int:
    """Elements of ``stage`` that a thread computes."""
    last = stage.dims[stage.last_long].extent if stage.dims else 1
    possible = [n for n in _TOGETHER if last % n == 0]
    return decide(sch, "together", possible, possible[0])


def element_kernel(stage: Stage, together: int) -> list[Any]:
    """The launch that computes ``stage``, which reduces nothing."""
    long = [axis for axis in stage.dims if axis.extent > 1]
    zeros = {axis.var: number(0) for axis in stage.dims if axis.extent == 1}
    items = prod(axis.extent for axis in long) // together

    def body(at: list[Any], thread: PrimExpr) -> Any:
        first = (at[0] * THREADS + thread) * together

        def store(i: PrimExpr) -> Any:
            known = {**zeros, **indices(long, first)}
            if long:
                known[long[-1].var] = known[long[-1].var] + i
            to = [known[axis.var].astype(str(axis.var.ty.dtype)) for axis in stage.dims]
            return tirx.BufferStore(stage.buffer, substitute(stage.value, known), to)

        statement = repeat(together, store, tirx.ForKind.VECTORIZED)
        return when([first < items * together] if items % THREADS else [], statement)

    return [launch([-(-items // THREADS)], THREADS, body)]
