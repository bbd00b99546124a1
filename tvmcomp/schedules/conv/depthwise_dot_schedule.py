"""Schedule of :mod:`tvmcomp.schedules.conv.depthwise_dot`: columns of the data in registers."""

from __future__ import annotations

from tvmcomp.schedules.arm.columns import sdot_columns
from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.conv.depthwise_dot import DILATION
from tvmcomp.schedules.epilogue import accumulate_in_registers, vectorize_channels
from tvmcomp.schedules.parallel import anchor_work, parallelize
from tvmcomp.schedules.x86.columns import vpdpbusd_columns
from tvmcomp.schedules.x86.row_pairs import vpmaddwd_columns
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Block, Schedule

#: Registers for a column of data, its weight, and the epilogue.
_OPERANDS = 12


def schedule_depthwise_dot(
    sch: Schedule, block: Block, target: TargetDescription, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is the ``depthwise`` block ``block``."""
    weight = sch.get(block).reads[-1].source
    lanes, in_pairs = int(weight.shape[-2]), len(weight.shape) > 4
    dilation = int(sch.get(block).annotations[DILATION])
    work = anchor_work(sch, block, target)
    epilogue = accumulate_in_registers(sch, block, target)
    *rows, width, channel, column, row = sch.get_loops(block)
    pixels = int(sch.get(width).extent)
    candidates = [p for p in range(1, 15) if pixels % p == 0]
    registers = -(-32 * lanes // target.vector_bits)
    most = max(1, min(8, (target.vector_registers - _OPERANDS) // registers))
    p = decide(sch, "pixels", candidates, max(p for p in candidates if p <= most))
    order = decide(sch, "channels_outside", [0, 1, 2], 0)

    channel_outer, vector = sch.split(channel, [None, lanes])
    width_outer, width_block = sch.split(width, [None, p])
    tiles = [*rows, width_outer]
    tiles.insert((len(rows) + 1, len(rows), len(rows) - 1)[order], channel_outer)
    sch.reorder(*tiles, column, width_block, vector, row)
    sch.reverse_compute_at(epilogue, tiles[-1])
    parallelize(sch, tiles[: tiles.index(width_outer)] if order else rows, work, decide)
    sch.unroll(column)
    sch.unroll(width_block)
    init = sch.decompose_reduction(block, column)
    *_, init_pixels, init_lanes = sch.get_loops(init)
    sch.unroll(init_pixels)
    sch.vectorize(init_lanes)
    columns = sdot_columns if target.family == "arm" else vpdpbusd_columns
    if in_pairs:
        columns = vpmaddwd_columns
    sch.tensorize(vector, columns(lanes, int(sch.get(row).extent), dilation))
    vectorize_channels(sch, epilogue, target)
