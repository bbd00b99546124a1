"""Blocks that are no simple stage (two results at once, scans): scheduled by TVM's primitives."""

from __future__ import annotations

from tvmcomp.schedules.epilogue import schedule_spatial
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Schedule

_SPATIAL = tvm.tirx.IterVar.DataPar
_REDUCE = tvm.tirx.IterVar.CommReduce


def schedule_block(sch: Schedule, block: Block, target: TargetDescription) -> None:
    """Vectorize ``block`` along its last spatial axis where it can be, and run it in parallel."""
    kinds = [iv.iter_type for iv in sch.get(block).iter_vars]
    if all(kind == _SPATIAL for kind in kinds):
        schedule_spatial(sch, block, target)
        return
    loops = sch.get_loops(block)
    if len(kinds) != len(loops) or not set(kinds) <= {_SPATIAL, _REDUCE}:
        return
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
    reduced = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _REDUCE]
    sch.reorder(*spatial, *reduced)
    if spatial:
        sch.parallel(sch.fuse(*spatial))
    sch.decompose_reduction(block, reduced[0])
