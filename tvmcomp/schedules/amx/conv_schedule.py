"""Schedule a kernel of :mod:`~tvmcomp.schedules.amx.conv`: tasks, each with its epilogue."""

from __future__ import annotations

from tvmcomp.schedules.amx.choose import sum_lanes
from tvmcomp.schedules.amx.plan import BAND
from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.epilogue import accumulate_in_registers, channel_lanes
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Block, Schedule

#: Vectors of channels that the epilogue goes through at once.
_VECTORS = 7


def schedule_amx_conv(
    sch: Schedule, block: Block, target: TargetDescription, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is the ``conv`` block of an AMX kernel.

    Args:
        sch: a schedule of a fused PrimFunc.
        block: the anchor.
        target: the device.
        decide: answers the choices.
    """
    rows, width, channels, outer_count, pointwise, rank, bands_first = (
        int(value) for value in sch.get(block).annotations[BAND]
    )
    epilogue = accumulate_in_registers(sch, block, target)
    *pixel, channel = sch.get_loops(epilogue)
    if pointwise:
        run = sch.fuse(*pixel) if len(pixel) > 1 else pixel[0]
        width_band, column = sch.split(run, [None, width])
        outer, bands, inner = [], [width_band], [column]
    else:
        outer = pixel[:outer_count]
        width_band, column = sch.split(pixel[-1], [None, width])
        bands, inner = [width_band], [column]
        if rank > 1:
            row_band, row = sch.split(pixel[-2], [None, rows])
            bands, inner = [row_band, width_band], [row, column]
    blocks = -(-int(sch.get(channel).extent) // channels)
    block_of_channels, channel = sch.split(channel, [None, channels])
    if decide(sch, "bands_first", [0, 1], bands_first):
        tasks = [*outer, *bands, block_of_channels]
    else:
        tasks = [*outer, block_of_channels, *bands]
    # A few vectors of channels stay in registers with their scales and biases over all pixels.
    sums = sch.get(block).writes[0].source
    most = channel_lanes(sch, epilogue, channels, target, sums)
    lanes = min(most, sum_lanes(channels, blocks, target))
    count = -(-channels // lanes)
    vectors = max(v for v in range(1, _VECTORS + 1) if count % v == 0)
    group, vector, lane = sch.split(channel, [None, vectors, lanes])
    sch.reorder(*tasks, group, *inner, vector, lane)
    sch.compute_at(block, tasks[-1])
    sch.parallel(sch.fuse(*tasks))
    sch.unroll(vector)
    if lanes > 1:
        sch.vectorize(lane)
