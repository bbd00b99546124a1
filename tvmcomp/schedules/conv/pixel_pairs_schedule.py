"""Convolution and matrix product by ``smmla``: an accumulator holds two pixels of two channels.

The loop nest is that of :mod:`tvmcomp.schedules.conv.direct_conv`, over pairs: inside the window
and the input channels, a fully unrolled block of pairs of pixels times pairs of channels. The data
of a block is staged in registers as the instruction wants it, two pixels' 8 input channels next to
each other; the epilogue reads the accumulators back channels last.
"""

from __future__ import annotations

import math
from typing import Any

from tvmcomp.schedules.blocking import Decide, choose_block, register_blocks
from tvmcomp.schedules.conv.staging import axes_read
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.epilogue import accumulate_in_registers, vectorize_channels
from tvmcomp.schedules.parallel import anchor_work, parallelize
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Loop, PrimExpr, Schedule

_REDUCE = tvm.tirx.IterVar.CommReduce
#: Choices offered to the tuner for the accumulator block.
_BLOCK_CHOICES = 8


def schedule_pixel_pairs(
    sch: Schedule, block: Block, target: TargetDescription, kernel: DotKernel, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is ``block``.

    Args:
        sch: a schedule of a fused PrimFunc.
        block: its ``conv`` block, over ``[*lead, *rows, width / 2, channels / 2, 2, 2]``.
        target: the device.
        kernel: the dot product that the weights are packed for.
        decide: answers the choices.
    """
    work = anchor_work(sch, block, target)
    epilogue = accumulate_in_registers(sch, block, target)
    loops = sch.get_loops(block)
    reductions = sum(iv.iter_type == _REDUCE for iv in sch.get(block).iter_vars)
    spatial = len(loops) - reductions
    rank = reductions - 2
    *outer, width, channel, pixel_in, channel_in = loops[:spatial]
    *taps, reduce_outer, reduce_inner = loops[spatial:]
    lead = outer[: len(outer) - (rank - 1)]  # the batch, and the group where there is one
    rows = outer[len(lead) :]
    pairs, vectors = int(sch.get(width).extent), int(sch.get(channel).extent)
    steps = math.prod(int(sch.get(loop).extent) for loop in (*taps, reduce_outer))
    possible = register_blocks(pairs * kernel.pixels, vectors, target, kernel, steps)
    fitting = [b for b in possible if pairs % (b[0] // kernel.pixels) == 0]
    blocks = fitting[:_BLOCK_CHOICES]
    p, v = choose_block(sch, "block", blocks, decide)

    channel_outer, channel_block = sch.split(channel, [None, v])
    width_outer, width_block = sch.split(width, [None, p // kernel.pixels])
    sch.reorder(
        *lead, channel_outer, *rows, width_outer, *taps, reduce_outer,
        channel_block, width_block, pixel_in, channel_in, reduce_inner,
    )  # fmt: skip
    sch.reverse_compute_at(epilogue, width_outer)
    parallelize(sch, [*lead, channel_outer, *rows], work, decide)
    sch.unroll(channel_block)
    sch.unroll(width_block)
    _stage_pairs(sch, block, spatial, reduce_outer)
    init = sch.decompose_reduction(block, (taps or [reduce_outer])[0])
    *_, init_channels, init_pixels, pixel, lane = sch.get_loops(init)
    sch.unroll(init_channels)
    sch.unroll(init_pixels)
    sch.vectorize(sch.fuse(pixel, lane))
    assert kernel.intrin is not None
    sch.tensorize(pixel_in, kernel.intrin)
    for loop in sch.get_loops(epilogue)[-2:]:
        sch.unroll(loop)
    vectorize_channels(sch, epilogue, target)


def _stage_pairs(sch: Schedule, block: Block, spatial: int, loop: Loop) -> None:
    """Read the data of ``block`` once an iteration of ``loop``, two pixels' depth side by side."""
    data = len(sch.get(block).reads) - 2
    before = axes_read(sch, block, data, spatial - 4)

    def local_index(*at: PrimExpr) -> list[Any]:
        width, _, pixel, _ = at[spatial - 4 : spatial]
        *taps, outer, inner = at[spatial:]
        return [*(at[i] for i in before), *taps, width, outer, pixel, inner]

    count = len(sch.get(block).iter_vars)
    index_map = tvm.tirx.IndexMap.from_func(local_index, ndim=count)
    stage = sch.reindex_cache_read(block, data, "local", index_map)
    sch.compute_at(stage, loop)
    names = [str(sch.get(other).loop_var.name) for other in sch.get_loops(block)]
    inside = names.index(str(sch.get(loop).loop_var.name)) + 1
    *pixels, depth = sch.get_loops(stage)[inside:]
    for pixel in pixels:
        sch.unroll(pixel)
    sch.vectorize(depth)
