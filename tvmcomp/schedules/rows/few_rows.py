"""Reductions to fewer rows than there are cores: in two steps, the first of them parallel."""

from __future__ import annotations

import math

from tvmcomp.schedules.parallel import work_of, worth_parallel
from tvmcomp.schedules.stages import read_stages
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Loop, PrimExpr, Schedule

_REDUCE = tvm.tirx.IterVar.CommReduce
#: Most partial results a row; their sum is computed on one thread.
_MOST_PARTS = 64


def split_few_rows(sch: Schedule, target: TargetDescription) -> None:
    """Reduce parts of each row to partial results, then those, where that is worth it.

    A part is a piece of the outermost reduced axis: with the rows of an image, what follows finds
    its part of the image in the cache of its own core.
    """
    stages = read_stages(sch) or []
    blocks = sch.get_child_blocks(sch.get_sblock("root"))
    for block, stage in zip(blocks, stages, strict=False):
        rows = math.prod(axis.extent for axis in stage.dims[: stage.own_rows])
        if (
            target.cores > 1
            and stage.reduced
            and rows < target.cores
            and worth_parallel(work_of(stage, target))
        ):
            _split(sch, block, target.cores)


def _split(sch: Schedule, block: Block, cores: int) -> None:
    iter_vars = sch.get(block).iter_vars
    loops = sch.get_loops(block)
    if len(loops) != len(iter_vars):
        return
    reduced = [loop for loop, iv in zip(loops, iter_vars, strict=True) if iv.iter_type == _REDUCE]
    long = [loop for loop in reduced if int(sch.get(loop).extent) >= 2 * cores]
    if not long:
        return
    extent = int(sch.get(long[0]).extent)
    parts = max(n for n in range(1, min(extent, max(_MOST_PARTS, cores)) + 1) if extent % n == 0)
    if parts < cores or (parts == extent and len(reduced) == 1):
        return
    outer = long[0]
    if parts < extent:
        outer, _ = sch.split(outer, [parts, None])
    _in_parts(sch, block, outer)


def _in_parts(sch: Schedule, block: Block, outer: Loop) -> None:
    """Reduce by ``outer`` to partial results, then those.

    TVM knows a max and a min by what they start at, its largest finite numbers: where they start
    at infinity (``legalize_extreme``), they do so again afterwards.
    """
    start: PrimExpr = getattr(sch.get(block).init, "value", None)
    infinite = isinstance(start, tvm.tirx.FloatImm) and math.isinf(start.value)
    if infinite:
        largest = tvm.tirx.max_value(start.ty.dtype)
        _start_at(sch, block, -largest if start.value < 0 else largest)
    parts = sch.rfactor(outer, 0)
    if infinite:
        _start_at(sch, parts, start)
        _start_at(sch, block, start)


def _start_at(sch: Schedule, block: Block, value: PrimExpr) -> None:
    """Make ``block`` begin its reduction with ``value``."""
    old = sch.get(block)
    init = tvm.tirx.BufferStore(old.init.buffer, value, old.init.indices)
    new = tvm.s_tir.SBlock(
        old.iter_vars, old.reads, old.writes, old.name_hint, old.body, init,
        old.alloc_buffers, old.match_buffers, old.annotations,
    )  # fmt: skip
    sch.state.replace(sch.get_sref(block), new, {old: new})
