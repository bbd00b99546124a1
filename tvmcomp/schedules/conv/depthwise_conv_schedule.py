"""Depthwise convolution: vectors along the channels, a block of pixels in registers."""

from __future__ import annotations

from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.epilogue import accumulate_in_registers, vectorize_channels
from tvmcomp.schedules.parallel import anchor_work, parallelize
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Schedule

_REDUCE = tvm.tirx.IterVar.CommReduce


def schedule_depthwise_conv(
    sch: Schedule, block: Block, target: TargetDescription, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is the ``depthwise`` block ``block``."""
    work = anchor_work(sch, block, target)
    epilogue = accumulate_in_registers(sch, block, target)
    loops = sch.get_loops(block)
    rank = sum(iv.iter_type == _REDUCE for iv in sch.get(block).iter_vars)
    *rows, width, channel = loops[: len(loops) - rank]
    taps = loops[len(loops) - rank :]
    lanes = _largest_divisor(int(sch.get(channel).extent), target.vector_bits // 32)
    pixels = int(sch.get(width).extent)
    candidates = [p for p in range(1, 15) if pixels % p == 0]
    p = decide(sch, "pixels", candidates, max(p for p in candidates if p <= 8))

    vectors = int(sch.get(channel).extent) // lanes
    v = decide(sch, "vectors", [v for v in (1, 2, 4) if vectors % v == 0], 1)
    order = decide(sch, "channels_outside", [0, 1, 2], 0)

    channel_outer, channel_block, vector = sch.split(channel, [None, v, lanes])
    width_outer, width_block = sch.split(width, [None, p])
    tiles = [*rows, width_outer]
    tiles.insert((len(rows) + 1, len(rows), len(rows) - 1)[order], channel_outer)
    sch.reorder(*tiles, *taps, width_block, channel_block, vector)
    sch.reverse_compute_at(epilogue, tiles[-1])
    parallelize(sch, tiles[: tiles.index(width_outer)] if order else rows, work, decide)
    for tap in taps[1:]:
        sch.unroll(tap)
    sch.unroll(width_block)
    sch.unroll(channel_block)
    sch.vectorize(vector)
    init = sch.decompose_reduction(block, taps[0])
    init_loops = sch.get_loops(init)
    sch.unroll(init_loops[-3])
    sch.unroll(init_loops[-2])
    sch.vectorize(init_loops[-1])
    vectorize_channels(sch, epilogue, target)


def _largest_divisor(extent: int, limit: int) -> int:
    return next(lanes for lanes in range(limit, 0, -1) if extent % lanes == 0)
