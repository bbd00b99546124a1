"""Schedule of :mod:`tvmcomp.schedules.matmul.batched_matmul`.

A task is one matrix of the batch, a block of columns and some of the rows; inside it, tiles of
accumulators stay in registers.
"""

from __future__ import annotations

from math import prod

from tvmcomp.schedules.blocking import Decide, choose_block
from tvmcomp.schedules.epilogue import accumulate_in_registers, vectorize_channels
from tvmcomp.schedules.matmul.output_axes import split_by_role
from tvmcomp.schedules.matmul.register_tile import (
    accumulate_tile,
    register_tiles,
    rest_apart,
    widest_vector,
)
from tvmcomp.schedules.parallel import anchor_work, worth_parallel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Block, Schedule

#: Tasks a core should have, so that a slow one holds up little.
_TASKS_PER_CORE = 4
#: Choices offered to the tuner for the tile of accumulators.
_TILE_CHOICES = 8


def schedule_batched_matmul(
    sch: Schedule, block: Block, target: TargetDescription, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is ``block``.

    Args:
        sch: a schedule of a fused PrimFunc.
        block: the ``matmul`` block of :func:`batched_matmul`.
        target: the device.
        decide: answers the choices.
    """
    work = anchor_work(sch, block, target)
    panels = sch.get_producers(block)
    epilogue = accumulate_in_registers(sch, block, target)
    batch, row, column = split_by_role(sch, block)
    depth = sch.get_loops(block)[-1]
    rows, columns = int(sch.get(row).extent), int(sch.get(column).extent)
    lanes = widest_vector(columns, target, str(sch.get(block).writes[0].source.dtype))
    if panels:
        lanes = int(sch.get(panels[0]).writes[0].source.shape[-1])
    tiles = register_tiles(rows, columns // lanes, target)[:_TILE_CHOICES]
    p, v = choose_block(sch, "block", tiles, decide)
    column_outer, vector, lane = sch.split(column, [None, v, lanes])
    tasks = prod(int(sch.get(loop).extent) for loop in (*batch, column_outer))
    parts = _parts(rows, p, tasks, bool(panels), target)
    in_part = -(-rows // (parts * p))
    part, row_outer, row = sch.split(row, [None, in_part, p])
    sch.reorder(*batch, part, column_outer, row_outer, depth, row, vector, lane)
    rest_apart(sch, row_outer, whole=rows % (in_part * p) == 0)
    task = sch.fuse(*batch, part, column_outer)
    if worth_parallel(work):
        sch.parallel(task)
    for panel in panels:
        sch.compute_at(panel, task)
        vectorize_channels(sch, panel, target)
    sch.reverse_compute_at(epilogue, row_outer)
    accumulate_tile(sch, block, depth, row, vector, lane)
    vectorize_channels(sch, epilogue, target)


def _parts(rows: int, p: int, tasks: int, packed: bool, target: TargetDescription) -> int:
    """Into how many parts the rows are divided; each packs the right side anew."""
    wanted = (1 if packed else _TASKS_PER_CORE) * target.cores
    return max(1, min(-(-wanted // tasks), rows // p))
