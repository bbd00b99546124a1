"""The default schedule of everything that is no anchor: inlined, parallel, vectorized; never naive.

Element-wise chains become one loop nest. A reduction is vectorized along the innermost spatial
axis where it has one, and otherwise along the reduced axis through ``rfactor``.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.epilogue import schedule_spatial
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

_SPATIAL = 0  # tirx.IterVar.DataPar
_REDUCE = 2  # tirx.IterVar.CommReduce

ScheduleError = tvm.s_tir.schedule.ScheduleError


def schedule_default(sch: Any, target: TargetDescription) -> None:
    """Schedule every block of the PrimFunc in ``sch``."""
    _inline_element_wise(sch)
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        kinds = {iv.iter_type for iv in sch.get(block).iter_vars}
        if kinds <= {_SPATIAL}:
            schedule_spatial(sch, block, target)
        elif kinds <= {_SPATIAL, _REDUCE}:
            _schedule_reduction(sch, block, target)


def _inline_element_wise(sch: Any) -> None:
    """Inline each block without reduction into its only consumer."""
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        spatial = all(iv.iter_type == _SPATIAL for iv in sch.get(block).iter_vars)
        if spatial and len(sch.get_consumers(block)) == 1:
            try:
                sch.compute_inline(block)
            except ScheduleError:
                continue  # Opaque access or two writes: it stays a loop nest of its own.


def _schedule_reduction(sch: Any, block: Any, target: TargetDescription) -> None:
    loops = sch.get_loops(block)
    kinds = [iv.iter_type for iv in sch.get(block).iter_vars]
    if len(kinds) != len(loops):
        return
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
    reduced = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _REDUCE]
    lanes = target.vector_bits // 32
    extent = int(sch.get(spatial[-1]).extent) if spatial else 1
    while lanes > 1 and extent % lanes:
        lanes //= 2
    if lanes > 1 and not _reduces_innermost(sch, block):
        outer, vector = sch.split(spatial[-1], [None, lanes])
        sch.reorder(*spatial[:-1], outer, *reduced, vector)
        sch.vectorize(vector)
        sch.parallel(sch.fuse(*spatial[:-1], outer))
        sch.decompose_reduction(block, reduced[0])
        return
    sch.reorder(*spatial, *reduced)
    if spatial:
        sch.parallel(sch.fuse(*spatial))
    sch.decompose_reduction(block, reduced[0])


def _reduces_innermost(sch: Any, block: Any) -> bool:
    """Whether the reduced axis is the contiguous one of what the block reads."""
    node = sch.get(block)
    reduced = [iv.var for iv in node.iter_vars if iv.iter_type == _REDUCE]
    return any(
        read.region and any(var.same_as(read.region[-1].min) for var in reduced)
        for read in node.reads
    )
