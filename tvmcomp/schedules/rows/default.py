"""The default schedule of everything that is no anchor: inlined, parallel, vectorized; never naive.

Element-wise stages are inlined into what reads them. What is left becomes one loop nest over the
rows that all stages share (softmax, layer normalization), where there are rows enough to keep the
cores busy, and else a loop nest a stage. :mod:`tvmcomp.schedules.rows.row_kernel` writes the loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.parallel import instructions, work_of, worth_parallel
from tvmcomp.schedules.rows.block_schedule import schedule_block
from tvmcomp.schedules.rows.few_rows import split_few_rows
from tvmcomp.schedules.rows.loop_nest import sequence
from tvmcomp.schedules.rows.moves import BESIDE_MOVE
from tvmcomp.schedules.rows.row_kernel import row_kernel
from tvmcomp.schedules.rows.run_kernel import find_run, run_kernel
from tvmcomp.schedules.rows.transpose_kernel import find_transpose, transpose_kernel
from tvmcomp.schedules.stages import Stage, advances, loads, mentions, read_stages
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Schedule

_SPATIAL = tvm.tirx.IterVar.DataPar

#: An element-wise stage of at most so many instructions is rather repeated than stored.
_CHEAP = 8
#: Instructions that a stage may become in a consumer that reads an element of it several times:
#: the compiler finds what is the same, and a row of such stages doubles with each.
_MOST_COPIED = 64

ScheduleError = tvm.s_tir.schedule.ScheduleError


def schedule_default(sch: Schedule, target: TargetDescription) -> None:
    """Schedule every block of the PrimFunc in ``sch``."""
    attrs = sch.mod["main"].attrs
    moved = bool(attrs and attrs.get(BESIDE_MOVE))
    _inline_element_wise(sch)
    split_few_rows(sch, target)
    stages = read_stages(sch)
    if not stages:
        for block in sch.get_child_blocks(sch.get_sblock("root")):
            schedule_block(sch, block, target)
        return
    root = sch.get_sblock("root")
    node = sch.get(root)
    nests, shared = _loop_nests(stages, set(node.alloc_buffers), target, moved)
    body = tvm.s_tir.SBlock(
        [],
        [],
        [],
        node.name_hint,
        sequence(nests),
        alloc_buffers=shared,
        annotations=node.annotations,
    )
    sch.state.replace(sch.get_sref(root), body, {node: body})


def _inline_element_wise(sch: Schedule) -> None:
    """Inline each block without reduction into its only consumer, where it is not repeated there
    at a price."""
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        spatial = all(iv.iter_type == _SPATIAL for iv in sch.get(block).iter_vars)
        consumers = sch.get_consumers(block)
        if spatial and len(consumers) == 1 and not _repeats_work(sch, block, consumers[0]):
            try:
                sch.compute_inline(block)
            except ScheduleError:
                continue  # Opaque access or two writes: it stays a loop nest of its own.


def _repeats_work(sch: Schedule, block: Block, consumer: Any) -> bool:
    body = sch.get(block).body
    if not isinstance(body, tvm.tirx.BufferStore):
        return False
    taken = instructions(body.value)
    if taken <= _CHEAP:
        return False
    reader = sch.get(consumer).body
    if isinstance(reader, tvm.tirx.BufferStore) and taken * 2 > _MOST_COPIED:
        copies = sum(load.source.same_as(body.buffer) for load in loads(reader.value))
        if copies > 1 and taken * copies > _MOST_COPIED:
            return True
    return _points(sch, consumer) > _points(sch, block) and not _reads_once(
        sch.get(consumer), body.buffer
    )


def _reads_once(reader: Any, buffer: Any) -> bool:
    """Whether each element of ``buffer`` is read at one point of ``reader`` at most: what lies
    around it is a border, but along the last axis, where a vector would be half in it."""
    if not isinstance(reader.body, tvm.tirx.BufferStore):
        return False
    found = [load for load in loads(reader.body.value) if load.source.same_as(buffer)]
    axes = [iv for iv in reader.iter_vars if int(iv.dom.extent) > 1]
    if len(found) != 1 or not axes:
        return False
    # The size of the one dimension that goes along each axis.
    sizes = [
        int(size)
        for axis in axes
        for index, size in zip(found[0].indices, buffer.shape, strict=True)
        if advances(index, axis.var) and sum(mentions(index, each.var) for each in axes) == 1
    ]
    return len(sizes) == len(axes) and sizes[-1] == int(axes[-1].dom.extent)


def _points(sch: Schedule, block: Block) -> int:
    return math.prod(int(iv.dom.extent) for iv in sch.get(block).iter_vars)


def _loop_nests(
    stages: Sequence[Stage], temporary: set[Any], target: TargetDescription, moved: bool
) -> tuple[list[Any], list[Any]]:
    """The loop nests of ``stages``, and the temporary buffers that more than one of them uses.

    ``moved``: what they read or write may lie within another tensor.
    """
    work = [work_of(stage, target) for stage in stages]
    rank = _common_rows(stages)
    rows = math.prod(axis.extent for axis in stages[0].dims[:rank])
    if len(stages) > 1 and (rows >= target.cores or not worth_parallel(sum(work))):
        return [row_kernel(stages, rank, temporary, target, worth_parallel(sum(work)))], []
    nests = [
        _lone(stage, target, worth_parallel(cost), moved)
        for stage, cost in zip(stages, work, strict=True)
    ]
    return nests, list(temporary)


def _lone(stage: Stage, target: TargetDescription, parallel: bool, moved: bool) -> Any:
    """The loop nest of one stage."""
    transpose = find_transpose(stage, target)
    if transpose is not None:
        return transpose_kernel(stage, transpose, target, parallel)
    run = None if moved else find_run(stage, target)
    if run is not None:
        return run_kernel(stage, run, target, parallel)
    return row_kernel([stage], stage.own_rows, set(), target, parallel)


def _common_rows(stages: Sequence[Stage]) -> int:
    """How many leading axes all ``stages`` share: each reads the others' results at its own row."""
    produced = {stage.buffer for stage in stages}
    rank, most = 0, _most_rows(stages)
    while rank < most and all(_has_row(stage, rank, stages[0], produced) for stage in stages):
        rank += 1
    return rank


def _most_rows(stages: Sequence[Stage]) -> int:
    """The leading axes that leave each stage an axis to be vectorized along."""
    folded = [stage for stage in stages if stage.contiguous]
    others = [stage for stage in stages if not stage.contiguous and (stage.reduced or not folded)]
    return min([len(stage.dims) for stage in folded] + [stage.last_long for stage in others])


def _has_row(stage: Stage, axis: int, first: Stage, produced: set[Any]) -> bool:
    if axis >= len(stage.dims) or stage.dims[axis].extent != first.dims[axis].extent:
        return False
    if stage.dims[axis].extent == 1:
        return True
    return all(
        axis < len(load.indices) and load.indices[axis].same_as(stage.dims[axis].var)
        for load in loads(stage.value)
        if load.source in produced
    )
