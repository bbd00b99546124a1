"""The schedule of :mod:`tvmcomp.schedules.matmul.bfloat16_attention`: tasks, each with its
epilogue."""

from __future__ import annotations

from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.epilogue import accumulate_in_registers, vectorize_channels
from tvmcomp.schedules.matmul.bfloat16_attention import ROWS_IN_TASK
from tvmcomp.schedules.matmul.output_axes import split_by_role
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Block, Schedule


def schedule_bfloat16_attention(
    sch: Schedule, block: Block, target: TargetDescription, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is the ``attention`` block.

    Args:
        sch: a schedule of a fused PrimFunc.
        block: the anchor.
        target: the device.
        decide: answers the choices, of which there are none.
    """
    rows_in_task = int(sch.get(block).annotations[ROWS_IN_TASK])
    epilogue = accumulate_in_registers(sch, block, target)
    batch, rows, columns = split_by_role(sch, epilogue, roles=block)
    part, row = sch.split(rows, [None, rows_in_task])
    sch.reorder(*batch, part, row, columns)
    vectorize_channels(sch, epilogue, target)
    sch.compute_at(block, part)
    sch.parallel(sch.fuse(*batch, part))
