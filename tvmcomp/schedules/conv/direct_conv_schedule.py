"""Direct convolution and matrix product: accumulators in registers, epilogue in the same tile.

The loop nest, outermost first: parallel over (batch, group, channel block, rows), then blocks of
pixels in a row; inside, the window and the input channels, and innermost a fully unrolled block of
``pixels x vectors`` accumulators. Where that is less to read, the channel block comes before the
batch: weights stay in the cache, and images change. The epilogue (requantize, bias, activation,
residual) follows in the same tile, so accumulators never reach memory. In plain NHWC, after
Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures"
(2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.blocking import Decide, choose_block, register_blocks, stages_data
from tvmcomp.schedules.conv.merged_groups import merge_groups
from tvmcomp.schedules.conv.staging import stage_data, steps_of_vector
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.epilogue import accumulate_in_registers, vectorize_channels
from tvmcomp.schedules.parallel import anchor_work, parallelize
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Loop, Schedule

_REDUCE = tvm.tirx.IterVar.CommReduce
#: Choices offered to the tuner for the accumulator block.
_BLOCK_CHOICES = 16


def schedule_direct_conv(
    sch: Schedule, block: Block, target: TargetDescription, kernel: DotKernel, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is ``block``.

    Args:
        sch: a schedule of a fused PrimFunc.
        block: its ``conv`` block.
        target: the device.
        kernel: the dot product that the weights are packed for.
        decide: answers the choices.
    """
    work = anchor_work(sch, block, target)
    epilogue = accumulate_in_registers(sch, block, target)
    merge_groups(sch, block, epilogue)
    loops = sch.get_loops(block)
    reductions = [iv for iv in sch.get(block).iter_vars if iv.iter_type == _REDUCE]
    rank = len(reductions) - 2
    reduce_at = len(loops) - len(reductions)
    *outer, channel = loops[:reduce_at]
    *taps, reduce_outer, reduce_inner = loops[reduce_at:]
    *lead_rows, width = outer
    lead = lead_rows[: len(lead_rows) - (rank - 1)]  # the batch, and the group where there is one
    rows = lead_rows[len(lead) :]
    pixels = int(sch.get(width).extent)
    vectors = int(sch.get(channel).extent) // kernel.lanes
    steps = math.prod(int(sch.get(loop).extent) for loop in (*taps, reduce_outer))
    possible = register_blocks(pixels, vectors, target, kernel, steps)
    blocks = [block for block in possible if pixels % block[0] == 0][:_BLOCK_CHOICES]
    p, v = choose_block(sch, "block", blocks, decide)

    channel_outer, channel_block, lanes = sch.split(channel, [None, v, kernel.lanes])
    width_outer, width_block = sch.split(width, [None, p])
    # What stays in a cache meanwhile: a channel block's weights, or a row's (or a block's) data.
    inside = 2 if taps and _row_leaves(sch, block, target.l2_kib) else 0
    order = decide(sch, "channels_inside", [0, 1, 2], inside)
    tiles = [*rows, width_outer]
    tiles.insert((0, len(rows), len(rows) + 1)[order], channel_outer)
    nest = [*lead, *tiles]
    if order == 0 and _weights_stay(
        sch, block, lead, int(sch.get(channel_outer).extent), target.l2_kib
    ):
        nest = [channel_outer, *lead, *tiles[1:]]
    sch.reorder(*nest, *taps, reduce_outer, width_block, channel_block, lanes, reduce_inner)
    sch.reverse_compute_at(epilogue, nest[-1])
    parallelize(sch, nest[:-1], work, decide)
    sch.unroll(width_block)
    sch.unroll(channel_block)
    depth = int(sch.get(reduce_outer).extent)
    staged = stages_data(target)
    if staged:
        unroll = steps_of_vector(kernel, depth)
        sch.reorder(channel_block, width_block)  # A vector of weights is used up before the next.
    else:
        unroll = decide(sch, "unroll", [1, 2, 4, 8], 2 if depth % 2 == 0 else 1)
    if depth % unroll == 0 and (unroll > 1 or staged):
        reduce_outer, unrolled = sch.split(reduce_outer, [None, unroll])
        sch.unroll(unrolled)
    if staged:
        stage_data(sch, block, kernel, unroll, reduce_outer)
    if kernel.depth == 1 or kernel.intrin is None:
        sch.reorder(reduce_inner, width_block, channel_block, lanes)
    if kernel.intrin is None:
        sch.vectorize(lanes)
    init = sch.decompose_reduction(block, (taps or [reduce_outer])[0])
    init_loops = sch.get_loops(init)
    sch.unroll(init_loops[-3])
    sch.unroll(init_loops[-2])
    sch.vectorize(init_loops[-1])
    if kernel.intrin is not None:
        sch.tensorize(lanes, kernel.intrin)
    vectorize_channels(sch, epilogue, target)


def _weights_stay(
    sch: Schedule, block: Block, lead: Sequence[Loop], channel_blocks: int, l2_kib: int
) -> bool:
    """Whether all images of a batch go through a block of channels before the next one does.

    Else every image takes all weights through a core's cache; so every block takes all images.
    """
    data, weight = (access.source for access in sch.get(block).reads[-2:])
    images, groups = math.prod(int(sch.get(loop).extent) for loop in lead), int(weight.shape[0])
    if images == 1 or groups > 1 or _nbytes(weight) <= l2_kib << 10:
        return False
    return channel_blocks * _nbytes(data) < images * _nbytes(weight)


def _row_leaves(sch: Schedule, block: Block, l2_kib: int) -> bool:
    """Whether a row of data is too long for a core's cache, and all weights are not: a long signal.

    Every block of channels would bring the row there again; so every block of pixels goes through
    all channels. Measured on Zen 3, 128 channels to 128 by 3 of 7,500 samples: 14.4 ms in place of
    19.1, the transposes around it among them.
    """
    data, weight = (access.source for access in sch.get(block).reads[-2:])
    rows = math.prod(int(size) for size in data.shape[:-2])
    return _nbytes(data) // rows > l2_kib << 10 >= _nbytes(weight)


def _nbytes(tensor: Any) -> int:
    elements = math.prod(int(size) for size in tensor.shape)
    return elements * tvm.DataType(tensor.dtype).bits // 8
