"""A reduction whose every result one thread computes: pooling, depthwise convolution, averages.

A thread computes some neighbouring results along the last axis, which it reads as vectors: in NHWC
these are channels, and what the window takes from memory is contiguous across a warp.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.cuda.finish import finish_at
from tvmcomp.schedules.cuda.fused import Fused
from tvmcomp.schedules.cuda.kernel import (
    BUSY,
    WARP,
    array,
    launch,
    number,
    repeat,
    when,
    with_arrays,
)
from tvmcomp.schedules.cuda.side import extent, indices
from tvmcomp.schedules.rows.loop_nest import sequence
from tvmcomp.schedules.stages import substitute
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Schedule

tirx = tvm.tirx

_TOGETHER = (4, 2, 1)
_BLOCKS = (128, 64, 256)
#: Longer reductions are for several threads, where there are not results enough for all.
_LONGEST = 1024


@dataclass(frozen=True)
class WindowChoice:
    """Results that a thread computes, and threads of a block."""

    together: int
    threads: int


def suits_window(fused: Fused, target: TargetDescription) -> bool:
    """Whether one thread may do each of the reductions of ``fused``: what they read is contiguous
    in short pieces at most, and there are enough of them."""
    anchor = fused.anchor
    if anchor.contiguous is not None and anchor.contiguous.extent >= WARP:
        return False
    enough = extent(anchor.dims) >= target.gpu.multiprocessors * BUSY
    return enough or extent(anchor.reduced) <= _LONGEST


def choose_window(
    sch: Schedule, fused: Fused, target: TargetDescription, decide: Decide
) -> WindowChoice:
    """The choice for ``fused``; see :func:`~tvmcomp.schedules.cuda.schedule_kernel`."""
    last = next((axis.extent for axis in reversed(fused.anchor.dims) if axis.extent > 1), 1)
    possible = [n for n in _TOGETHER if last % n == 0]
    wanted = extent(fused.anchor.dims) // (target.gpu.multiprocessors * BUSY)
    best = next((n for n in possible if n <= wanted), 1)
    together = decide(sch, "together", possible, best)
    return WindowChoice(together, decide(sch, "threads", _BLOCKS, _BLOCKS[0]))


def window_kernel(fused: Fused, choice: WindowChoice) -> list[Any]:
    """The launch that computes ``fused``."""
    anchor, together, threads = fused.anchor, choice.together, choice.threads
    long = [axis for axis in anchor.dims if axis.extent > 1]
    zeros = {axis.var: number(0) for axis in (*anchor.dims, *anchor.reduced) if axis.extent == 1}
    reduced = [axis for axis in anchor.reduced if axis.extent > 1]
    items = prod(axis.extent for axis in long) // together
    dtype = str(anchor.buffer.dtype)
    combine = anchor.combine
    assert combine is not None

    def body(at: list[Any], thread: PrimExpr) -> Any:
        sums = array(together, dtype, "sums")
        first = (at[0] * threads + thread) * together

        def begin(i: PrimExpr) -> Any:
            return tirx.BufferStore(sums, anchor.init, [i])

        def place(i: PrimExpr) -> dict[Any, Any]:
            # The neighbours are in the same line: only its index grows.
            known = {**zeros, **indices(long, first)}
            if long:
                known[long[-1].var] = known[long[-1].var] + i
            return known

        def window(known: dict[Any, Any], left: list[Any]) -> Any:
            if left:
                axis, *rest = left
                return repeat(axis.extent, lambda k: window({**known, axis.var: k}, rest))

            def add(i: PrimExpr) -> Any:
                value = substitute(anchor.value, {**known, **place(i)})
                return tirx.BufferStore(sums, combine(tirx.BufferLoad(sums, [i]), value), [i])

            return repeat(together, add, tirx.ForKind.VECTORIZED)

        def finish(i: PrimExpr) -> Any:
            return finish_at(fused, tirx.BufferLoad(sums, [i]), place(i))

        statements = [
            repeat(together, begin, tirx.ForKind.VECTORIZED),
            window({}, reduced),
            repeat(together, finish, tirx.ForKind.VECTORIZED),
        ]
        inside = [first < items * together] if items % threads else []
        return with_arrays([sums], [when(inside, sequence(statements))])

    return [launch([-(-items // threads)], threads, body)]
