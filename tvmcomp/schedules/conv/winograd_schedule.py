"""Schedule of Winograd's convolution (:mod:`tvmcomp.schedules.conv.winograd`).

Where the transformed input fits a core's cache it is computed first, for all tiles; then each task
takes a block of output channels through the products of all tiles, so that the weights are read
once, and through the inverse transform and the epilogue. A larger input is split by rows of tiles
instead, each task transforming the rows that it needs.
"""

from __future__ import annotations

from tvmcomp.schedules.blocking import Decide, choose_block
from tvmcomp.schedules.conv.winograd import accumulator_blocks, output_lanes
from tvmcomp.schedules.epilogue import inline_epilogue
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Block, Schedule

#: Choices offered to the tuner for the accumulator block.
_BLOCK_CHOICES = 6


def schedule_winograd_conv(
    sch: Schedule, product: Block, target: TargetDescription, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is the ``product`` block."""
    part, transformed = sch.get_sblock("transformed_rows"), sch.get_sblock("transformed")
    inverse_rows, inverse = sch.get_sblock("inverse_rows"), sch.get_sblock("inverse")
    own = (part, transformed, product, inverse_rows, inverse)
    last = inline_epilogue(sch, inverse, own, target)
    if last is None:
        last = inverse
    else:
        sch.compute_inline(inverse)
    batch, rows, reach, _, columns, out_channels, channels = (
        int(sch.get(loop).extent) for loop in sch.get_loops(product)
    )
    size = reach - 2
    lanes = output_lanes(out_channels, target)
    blocks = accumulator_blocks(columns, out_channels, target)
    fitting = [block for block in blocks if columns % block[0] == 0][:_BLOCK_CHOICES]
    p, v = choose_block(sch, "block", fitting, decide)
    row_bytes = 4 * columns * reach**2 * channels
    weight_bytes = 4 * reach**2 * channels * out_channels
    channel_blocks = out_channels // (v * lanes)
    guess = _rows_a_task(batch, rows, row_bytes, weight_bytes, channel_blocks, target)
    rows_a_task = decide(sch, "rows_a_task", sorted({0, 1, 2, 4, guess}), guess)
    by_row = rows_a_task > 0

    n, h, w, o = sch.get_loops(last)
    row, r = sch.split(h, [None, size])
    column, q = sch.split(w, [None, size])
    channel_block, vector, lane = sch.split(o, [None, v, lanes])
    if by_row:
        row, inner_row = sch.split(row, [None, rows_a_task])
        sch.reorder(n, row, channel_block, inner_row, column, vector, r, q, lane)
        task = sch.fuse(n, row)
    else:
        sch.reorder(channel_block, n, row, column, vector, r, q, lane)
        task = channel_block
    sch.parallel(task)
    sch.unroll(r)
    sch.unroll(q)
    sch.vectorize(lane)

    sch.compute_at(inverse_rows, vector, preserve_unit_loops=True)
    *_, r, j, _, lane = sch.get_loops(inverse_rows)
    sch.unroll(r)
    sch.unroll(j)
    sch.vectorize(lane)
    sch.compute_at(product, channel_block, preserve_unit_loops=True)
    _schedule_product(sch, product, p, v, lanes)
    if by_row:
        sch.compute_at(transformed, task, preserve_unit_loops=True)
        sch.compute_at(part, task, preserve_unit_loops=True)
    _schedule_transform(sch, transformed, part, target, by_row)


def _rows_a_task(
    batch: int,
    rows: int,
    row_bytes: int,
    weight_bytes: int,
    channel_blocks: int,
    target: TargetDescription,
) -> int:
    """Rows of tiles that a task transforms for itself; 0: all are transformed beforehand.

    A task's transformed rows take at most half of a core's cache, and the tasks share out evenly.
    Of a batch all are transformed beforehand where to read them for each block of channels takes
    less than to read the weights for each task.
    """
    half_cache = (target.l2_kib << 10) // 2
    if batch * rows * row_bytes <= half_cache or batch * rows < target.cores:
        return 0
    tasks = -(-rows // max(1, half_cache // row_bytes))
    if batch > 1 and channel_blocks * rows * row_bytes < tasks * weight_bytes:
        return 0
    tasks = -(-tasks // target.cores) * target.cores
    return -(-rows // tasks)


def _schedule_product(sch: Schedule, product: Block, p: int, v: int, lanes: int) -> None:
    """Matrix products with a block of ``p x v`` accumulators in registers."""
    *_, n, row, i, j, column, channel, k = sch.get_loops(product)
    column, pixels = sch.split(column, [None, p])
    vector, lane = sch.split(channel, [v, lanes])
    k, unrolled = sch.split(k, [None, 2 if int(sch.get(k).extent) % 2 == 0 else 1])
    # The rows inside, so that a block of the weights stays at hand.
    sch.reorder(i, j, n, row, column, k, unrolled, pixels, vector, lane)
    store = sch.cache_write(product, 0, "local")
    sch.reverse_compute_at(store, column, preserve_unit_loops=True)
    *_, stored_pixels, stored = sch.get_loops(store)
    stored, stored_lane = sch.split(stored, [v, lanes])
    sch.unroll(stored_pixels)
    sch.unroll(stored)
    sch.vectorize(stored_lane)
    for loop in (unrolled, pixels, vector):
        sch.unroll(loop)
    sch.vectorize(lane)
    init = sch.decompose_reduction(product, k)
    *_, pixels, vector, lane = sch.get_loops(init)
    sch.unroll(pixels)
    sch.unroll(vector)
    sch.vectorize(lane)


def _schedule_transform(
    sch: Schedule, transformed: Block, part: Block, target: TargetDescription, by_row: bool
) -> None:
    """Both steps of the input's transform, vectorized along its channels."""
    *_, n, row, i, j, column, channel = sch.get_loops(transformed)
    lanes = _largest_divisor(int(sch.get(channel).extent), target.vector_bits // 32)
    channel, lane = sch.split(channel, [None, lanes])
    sch.reorder(column, channel, i, j, lane)
    sch.unroll(i)
    sch.unroll(j)
    sch.vectorize(lane)
    if not by_row:
        sch.compute_at(part, row, preserve_unit_loops=True)
        sch.parallel(sch.fuse(n, row))
    *_, i, width, channel = sch.get_loops(part)
    channel, lane = sch.split(channel, [None, lanes])
    sch.reorder(width, channel, i, lane)
    sch.unroll(i)
    sch.vectorize(lane)


def _largest_divisor(extent: int, limit: int) -> int:
    return next(lanes for lanes in range(limit, 0, -1) if extent % lanes == 0)
