"""Convolution and matrix product of bytes that each task widens before it multiplies them.

The loop nest, outermost first: groups of channel blocks, the batch, parts of the image (rows of it,
or blocks of a matrix's rows): these are the tasks. A task widens what it reads into a buffer of its
own, which stays in the core's second cache, and takes each of its channel blocks through it: the
rest is as in :mod:`~tvmcomp.schedules.conv.direct_conv_schedule`. A number is widened once for all
products that it is in, and the innermost loop is nothing but loads, products and sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.blocking import Decide, choose_block, register_blocks
from tvmcomp.schedules.conv.merged_groups import merge_groups
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.epilogue import accumulate_in_registers, vectorize_channels
from tvmcomp.schedules.parallel import anchor_work, parallelize, worth_parallel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Loop, Schedule

_REDUCE = tvm.tirx.IterVar.CommReduce
#: Choices offered to the tuner for the accumulator block.
_BLOCK_CHOICES = 6
#: The same for the parts of an image and the groups of channel blocks, beside the analytic answer.
_PARTS, _GROUPS = (1, 4), (1, 4)
#: Tasks for each core from which on it does not matter whether they share out evenly.
_MANY = 4


def schedule_staged_conv(
    sch: Schedule, block: Block, target: TargetDescription, kernel: DotKernel, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is ``block``.

    Args:
        sch: a schedule of a fused PrimFunc.
        block: its ``conv`` block, which reads the block ``staged``.
        target: the device.
        kernel: the dot product that the weights are packed for.
        decide: answers the choices.
    """
    work = anchor_work(sch, block, target)
    stage = next(
        each for each in sch.get_producers(block) if str(sch.get(each).name_hint) == "staged"
    )
    data, weight = (access.source for access in sch.get(block).reads[-2:])
    epilogue = accumulate_in_registers(sch, block, target)
    merge_groups(sch, block, epilogue)
    loops = sch.get_loops(block)
    reductions = sum(iv.iter_type == _REDUCE for iv in sch.get(block).iter_vars)
    *outer, channel = loops[: len(loops) - reductions]
    *taps, reduce_outer, reduce_inner = loops[len(loops) - reductions :]
    spatial = reductions - 2
    lead, rows, width = outer[:-spatial], outer[-spatial:-1], outer[-1]
    pixels, vectors = _extent(sch, width), _extent(sch, channel) // kernel.lanes
    steps = math.prod(_extent(sch, loop) for loop in (*taps, reduce_outer))
    possible = register_blocks(pixels, vectors, target, kernel, steps)
    blocks = [block for block in possible if pixels % block[0] == 0][:_BLOCK_CHOICES]
    p, v = choose_block(sch, "block", blocks, decide)

    cut = _extent(sch, rows[0]) if rows else pixels // blocks[0][0]
    tasks = Tasks(
        images=math.prod(_extent(sch, loop) for loop in lead),
        rows=cut,
        channel_blocks=vectors // blocks[0][1],
        image_bytes=_nbytes(data.dtype, data.shape[-1 - spatial :]),
        weight_bytes=_nbytes(weight.dtype, weight.shape),
    )
    cores = target.cores if worth_parallel(work) else 1
    parts = tasks.parts(target)
    groups = tasks.groups(parts, cores, target)
    parts = decide(sch, "parts", sorted({*_PARTS, parts}), parts)
    groups = decide(sch, "groups", sorted({*_GROUPS, groups}), groups)

    channel_outer, channel_block, lanes = sch.split(channel, [None, v, kernel.lanes])
    width_outer, width_block = sch.split(width, [None, p])
    others = [*rows, width_outer][1:]
    first = rows[0] if rows else width_outer
    part, first = sch.split(first, [_divisor(_extent(sch, first), parts), None])
    count = _divisor(_extent(sch, channel_outer), groups)
    group, channel_outer = sch.split(channel_outer, [count, None])
    # What stays in the first cache: a channel block's weights, or a row's (or a block's) data.
    order = decide(sch, "channels_inside", [0, 1, 2], 0)
    tiles = [first, *others]
    tiles.insert((0, len(rows), len(rows) + 1)[order], channel_outer)
    task = [group, *lead, part]
    sch.reorder(*task, *tiles, *taps, reduce_outer, width_block, channel_block, lanes, reduce_inner)
    sch.reverse_compute_at(epilogue, tiles[-1])
    sch.compute_at(stage, part, preserve_unit_loops=True)
    _vectorize_stage(sch, stage, target)
    parallelize(sch, task, work, decide)
    sch.unroll(width_block)
    sch.unroll(channel_block)
    depth = _extent(sch, reduce_outer)
    unroll = decide(sch, "unroll", [1, 2, 4], 2 if depth % 2 == 0 else 1)
    if depth % unroll == 0 and unroll > 1:
        reduce_outer, unrolled = sch.split(reduce_outer, [None, unroll])
        sch.unroll(unrolled)
    init = sch.decompose_reduction(block, (taps or [reduce_outer])[0])
    *_, init_pixels, init_vectors, init_lanes = sch.get_loops(init)
    sch.unroll(init_pixels)
    sch.unroll(init_vectors)
    sch.vectorize(init_lanes)
    sch.tensorize(lanes, str(kernel.intrin))
    vectorize_channels(sch, epilogue, target)


@dataclass(frozen=True)
class Tasks:
    """How a convolution is cut into tasks.

    Attributes:
        images: of the batch, and groups of channels that don't mix.
        rows: of an image, that can be cut apart.
        channel_blocks: of the output.
        image_bytes: of an image's widened data.
        weight_bytes: of all weights.
    """

    images: int
    rows: int
    channel_blocks: int
    image_bytes: int
    weight_bytes: int

    def parts(self, target: TargetDescription) -> int:
        """Parts of an image whose widened data take at most half of a core's cache."""
        half_cache = (target.l2_kib << 10) // 2
        wanted = min(self.rows, -(-self.image_bytes // half_cache))
        return next(n for n in range(wanted, self.rows + 1) if self.rows % n == 0)

    def groups(self, parts: int, cores: int, target: TargetDescription) -> int:
        """Groups of channel blocks: so many that a group's weights stay in a core's cache from one
        part to the next, and that the tasks share out evenly."""
        half_cache = (target.l2_kib << 10) // 2
        others = self.images * parts
        found = [n for n in range(1, self.channel_blocks + 1) if self.channel_blocks % n == 0]
        stays = [n for n in found if others == 1 or self.weight_bytes <= half_cache * n]
        for groups in stays:
            tasks = groups * others
            if tasks % cores == 0 or tasks >= _MANY * cores:
                return groups
        return (stays or found)[-1]


def _vectorize_stage(sch: Schedule, stage: Block, target: TargetDescription) -> None:
    """Widen a whole vector at a time, where so many channels lie side by side."""
    channels = sch.get_loops(stage)[-1]
    lanes = math.gcd(_extent(sch, channels), target.vector_bits // 16)
    _, inner = sch.split(channels, [None, lanes])
    sch.vectorize(inner)


def _divisor(extent: int, most: int) -> int:
    """The largest divisor of ``extent`` up to ``most``."""
    return next(n for n in range(min(most, extent), 0, -1) if extent % n == 0)


def _extent(sch: Schedule, loop: Loop) -> int:
    return int(sch.get(loop).extent)


def _nbytes(dtype: Any, shape: Sequence[Any]) -> int:
    elements = math.prod(int(size) for size in shape)
    return elements * int(tvm.DataType(dtype).bits) // 8
