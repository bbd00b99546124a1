"""Choose how AMX computes an operator, by counting cycles; and whether it should at all.

The counts are of one core of Sapphire Rapids (Intel's optimization manual, chapter on AMX): a tile
product takes a cycle for each row of its tiles, a load or store of a tile brings one row a cycle
(two where they are aligned). They only rank.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from tvmcomp.schedules.amx.plan import (
    TILE,
    AmxKernel,
    AmxPlan,
    Band,
    Depth,
    amx_kernel,
    is_pointwise,
)
from tvmcomp.schedules.anchor import Anchor, Window
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.epilogue import best_lanes
from tvmcomp.targets import TargetDescription

#: What a block of accumulators costs beside its products: the latency from the last of them to the
#: store (52 cycles) overlaps with the next block in part.
_BLOCK_CYCLES = 24
#: Loads hide behind products, but not wholly; those of weights from the second-level cache are
#: regular, and fetched ahead.
_LOAD_DELAY, _STREAM_DELAY = 0.25, 0.1
#: A task's own: the tile configuration, the buffer, the first loads.
_TASK_CYCLES = 250
#: A vector of 16 sums in the epilogue: load, convert, scale, clip, narrow, store.
_EPILOGUE_CYCLES = 5
#: How much longer the epilogue takes where the last band is smaller: with a condition around it,
#: a pixel loads the channels' scales and biases anew.
_GUARDED = 1.5
#: Bytes that a core gets from its second-level cache in a cycle.
_L2_BYTES = 40
#: Share of the vector unit's peak that :mod:`tvmcomp.schedules.conv.direct_conv` reaches.
_DIRECT_EFFICIENCY = 0.75
#: Vector products a cycle, by the depth of one: two of ``vpdpbusd``, one of ``vdpbf16ps``.
_VECTOR_PRODUCTS = {4: 2.0, 2: 1.0}


def plan_amx(anchor: Anchor, dot: DotKernel, target: TargetDescription) -> AmxPlan | None:
    """How AMX computes a convolution.

    Args:
        anchor: the convolution.
        dot: the kernel of vectors that would compute it otherwise.
        target: the device.

    Returns:
        The fastest plan; None where ``target`` has no tiles for these types, or where vectors are
        faster: few pixels, few channels.
    """
    kernel = amx_kernel(target, dot.data, dot.weight)
    if kernel is None:
        return None
    candidates = list(plans(anchor, kernel, target))
    if not candidates:
        return None
    cycles, best = min(candidates, key=lambda pair: pair[0])
    return best if cycles < _direct_cycles(best, anchor.window, dot, target) else None


def plans(
    anchor: Anchor, kernel: AmxKernel, target: TargetDescription
) -> Iterator[tuple[float, AmxPlan]]:
    """Plans of all kinds, each with the cycles that it takes."""
    window, channels, out_channels = anchor.window, anchor.channels, anchor.out_channels
    for merged in _merges(window.groups, out_channels):
        merged_window = dataclasses.replace(window, groups=window.groups // merged)
        zeros = _zeros(merged_window, channels, kernel)
        wide = channels + zeros
        for depth in _depths(merged_window, wide // merged_window.groups, kernel):
            start = Band(1, 1, 1, flat=True, pitch=1)
            sizes = (anchor.lead, anchor.spatial, wide, out_channels)
            plan = AmxPlan(*sizes, merged_window, merged, kernel, depth, start, zeros=zeros)
            for band in _bands(plan, target):
                cut = dataclasses.replace(plan, band=band)
                cut = dataclasses.replace(cut, bands_first=_bands_first(cut, target))
                yield _cycles(cut, target), cut


def _merges(groups: int, out_channels: int) -> Iterator[int]:
    """How many groups to compute as one: up to what fills a tile's columns and a little more."""
    for merged in _divisors(groups):
        if merged == 1 or out_channels // groups * merged <= 2 * TILE:
            yield merged


def _zeros(window: Window, channels: int, kernel: AmxKernel) -> int:
    """Channels of zeros to be put behind an image's few: 9 or 21 numbers, of a row of 3 or 7 taps
    of three channels, are two pieces of pairs, and with a fourth channel one."""
    few = window.groups == 1 and channels * window.kernel[-1] < kernel.depth
    if not few or is_pointwise(window) or kernel.acc == "int32":
        return 0  # Bytes behind the last are read, and multiplied by zero; a float may be NaN.
    return -channels % kernel.pack


def _depths(window: Window, channels: int, kernel: AmxKernel) -> Iterator[Depth]:
    """The ways to cut the reduction into contiguous inputs: by tap, or a row of taps at once."""
    lengths = [(window.kernel, channels)]
    if window.groups == 1 and window.dilation[-1] == 1 and window.kernel[-1] > 1:
        lengths = [(window.kernel[:-1], channels * window.kernel[-1])]
    for taps, length in lengths:
        chunks = -(-length // kernel.depth)
        chunk = _round_up(-(-length // chunks), kernel.pack)
        if chunk <= length:
            yield Depth(taps, length, chunk, chunks)
            continue
        # One piece that ends beyond the inputs: it needs a border; or two pieces that overlap.
        if not is_pointwise(window) and kernel.acc == "int32":
            yield Depth(taps, length, chunk, 1)
        if length >= kernel.pack:
            yield Depth(taps, length, length // kernel.pack * kernel.pack, 2)


def _bands(plan: AmxPlan, target: TargetDescription) -> Iterator[Band]:
    """Bands whose accumulators fit the cache."""
    _, rows, width = plan.grid
    stride = plan.window.strides
    pitches = {(False, width)}
    square = len(stride) > 1 and stride[-1] == stride[-2] and not plan.pointwise
    if square:
        pitches.add((True, plan.padded[-1]))
    for channels in _blocks(plan):
        limit = target.l1_kib * 1024 * 2 // 3 // (_round_up(channels, TILE) * 4)
        for count in {-(-rows // n) for n in range(1, rows + 1)}:
            for flat, pitch in pitches:
                band = Band(count, width, channels, flat, pitch)
                if band.pixels <= limit:
                    yield band
        for part in _parts(plan, min(limit, width - 1)):
            yield Band(1, part, channels, True, part)


def _blocks(plan: AmxPlan) -> list[int]:
    """Sizes of blocks of channels: divisors, and, of one group, whole tiles in equal numbers. What
    their last tiles lack are zeros, which make the weights at most an eighth larger."""
    channels = plan.group_channels
    sizes = {n for n in _divisors(channels) if n >= min(TILE, channels)}
    if plan.window.groups == 1:
        tiles = -(-channels // TILE)
        sizes |= {-(-tiles // blocks) * TILE for blocks in range(2, tiles + 1)}
    most = 9 * _round_up(channels, TILE)
    return sorted(n for n in sizes if 8 * -(-channels // n) * _round_up(n, TILE) <= most)


def _parts(plan: AmxPlan, most: int) -> Iterator[int]:
    """Widths of bands of a row, up to ``most``. Where the row is made of all pixels of an image, a
    band has whole rows of the image, or a row whole bands: of others the scheduler would not see
    that one task computes what their epilogue reads, and compute several."""
    *outer, across = [n for n in (*plan.lead, *plan.output) if n > 1] or [1]
    if not plan.pointwise or not outer:
        yield from range(TILE, most + 1, TILE)
        return
    yield from (part for part in _divisors(across) if TILE <= part <= most and part < across)
    down = outer[-1]
    for rows in range(1, most // across + 1):
        if rows * across >= TILE and (len(outer) == 1 or down % rows == 0):
            yield rows * across


def _bands_first(plan: AmxPlan, target: TargetDescription) -> bool:
    """Whether the weights of all channels stay in the second-level cache from band to band."""
    size = math.prod(plan.weight_shape) * plan.kernel.item_bytes
    return size <= target.l2_kib * 1024 // 2


def _cycles(plan: AmxPlan, target: TargetDescription) -> float:
    """Cycles of the busiest core."""
    outer, _, _ = plan.grid
    tasks = math.prod(outer) * math.prod(plan.bands) * plan.channel_blocks
    return -(-tasks // target.cores) * _task_cycles(plan, target)


def _task_cycles(plan: AmxPlan, target: TargetDescription) -> float:
    band, depth = plan.band, plan.depth
    product = max(band.tile_rows, depth.chunk // plan.kernel.pack)
    load_a, load_b = band.tile_rows * 0.75, depth.chunk // plan.kernel.pack * 0.5

    def block(m: int, n: int) -> float:
        loads = m * load_a + n * load_b
        step = max(m * n * product, loads) + loads * _LOAD_DELAY
        return max(depth.steps * step, m * n * band.tile_rows) + _BLOCK_CYCLES

    # Two by two accumulators, and what an odd number of tiles leaves over.
    m2, m1 = divmod(band.tiles, 2)
    n2, n1 = divmod(band.channel_tiles, 2)
    products = m2 * n2 * block(2, 2) + m2 * n1 * block(2, 1) + m1 * n2 * block(1, 2)
    products += m1 * n1 * block(1, 1)
    weights = depth.steps * depth.chunk * band.channel_tiles * TILE * plan.kernel.item_bytes
    # Weights of a pair of tiles stay in the first-level cache from one pair of pixels to the next.
    passes = 1 if weights // max(1, n2 + n1) <= target.l1_kib * 1024 // 2 else m2 + m1
    streamed = weights * passes / _L2_BYTES
    products = max(products, streamed) + streamed * _STREAM_DELAY
    vectors = -(-band.channels // sum_lanes(band.channels, plan.channel_blocks, target))
    epilogue: float = band.rows * band.width * vectors * _EPILOGUE_CYCLES
    _, rows, width = plan.grid
    if rows % band.rows or width % band.width:
        epilogue *= _GUARDED
    return products + epilogue + _TASK_CYCLES


def _direct_cycles(
    plan: AmxPlan, window: Window, dot: DotKernel, target: TargetDescription
) -> float:
    """Cycles of the busiest core with vectors."""
    pixels = math.prod(plan.lead) * math.prod(plan.output)
    per_group = plan.out_channels // window.groups
    vectors = window.groups * -(-per_group // dot.lanes)
    depth = math.prod(window.kernel) * -(-plan.channels // window.groups // dot.depth)
    products = vectors * depth / _VECTOR_PRODUCTS[dot.depth] / _DIRECT_EFFICIENCY
    epilogue = window.groups * -(-per_group // best_lanes(per_group, target)) * _EPILOGUE_CYCLES
    return pixels * (products + epilogue) / min(target.cores, max(1, pixels * vectors // 8))


def sum_lanes(channels: int, blocks: int, target: TargetDescription) -> int:
    """Lanes of the vectors in which the sums of a block of channels leave. The last is under a mask
    where there is one block; with several, conditions and addresses cost more than masks save."""
    return best_lanes(channels, target) if blocks == 1 else math.gcd(channels, TILE)


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _divisors(number: int) -> Iterator[int]:
    return (n for n in range(1, number + 1) if number % n == 0)
