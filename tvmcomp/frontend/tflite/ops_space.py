"""Blocks of space to channels or to the batch, and back."""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.windows import image


def depth_to_space(call: Call) -> None:
    """DEPTH_TO_SPACE. In NHWC it is one transposition of rows and of what lies within a block."""
    size = call.options("DepthToSpaceOptions").BlockSize()
    _, height, width, channels = image(call)
    if min(height, width, channels) < 1 or size < 1 or channels % (size * size):
        raise ValueError(f"blocks of {size} don't fit {height} x {width} x {channels}")
    channels //= size * size
    _blocks(call, [height, width, size, size], [height * size, width * size, channels])


def space_to_depth(call: Call) -> None:
    """SPACE_TO_DEPTH: the other way round."""
    size = call.options("SpaceToDepthOptions").BlockSize()
    _, height, width, channels = image(call)
    if min(height, width, channels) < 1 or size < 1 or height % size or width % size:
        raise ValueError(f"blocks of {size} don't fit {height} x {width} x {channels}")
    height, width = height // size, width // size
    _blocks(call, [height, size, width, size], [height, width, size * size * channels])


def _blocks(call: Call, split: list[int], final: list[int]) -> None:
    parts = call.node("Reshape", call.real(0), call.w.ints([0, *split, -1]))
    moved = call.transposed(parts, [0, 1, 3, 2, 4, 5])
    call.give(call.node("Reshape", moved, call.w.ints([0, *final])))


def space_to_batch_nd(call: Call) -> None:
    """SPACE_TO_BATCH_ND: pad, and move each place within a block to the batch."""
    shape, blocks, pads = call.static(0), call.constant(1), call.constant(2)
    spatial = len(blocks)
    outer, rest = shape[1 : 1 + spatial], shape[1 + spatial :]
    if len(outer) != spatial or pads.shape != (spatial, 2) or (blocks < 1).any():
        raise ValueError("its blocks and paddings don't fit its data")
    before, after = pads.T.astype(int)
    zeros = [0] * len(rest)
    name = call.node("Pad", call.real(0), call.w.ints([0, *before, *zeros, 0, *after, *zeros]))
    padded = [int(size + p) for size, p in zip(outer, pads.sum(axis=1), strict=True)]
    split = [
        each for size, b in zip(padded, blocks, strict=True) for each in (size // int(b), int(b))
    ]
    name = call.node("Reshape", name, call.w.ints([shape[0], *split, *rest]))
    places = [2 * i + 2 for i in range(spatial)]
    kept = [2 * i + 1 for i in range(spatial)]
    tail = range(1 + 2 * spatial, 1 + 2 * spatial + len(rest))
    name = call.transposed(name, [*places, 0, *kept, *tail])
    final = [shape[0] * int(np.prod(blocks)), *split[0::2], *rest]
    call.give(call.node("Reshape", name, call.w.ints(final)))


def batch_to_space_nd(call: Call) -> None:
    """BATCH_TO_SPACE_ND: the other way round, and crop."""
    shape, blocks, crops = call.static(0), call.constant(1), call.constant(2)
    spatial, batch = len(blocks), shape[0] // max(int(np.prod(blocks)), 1)
    outer, rest = shape[1 : 1 + spatial], shape[1 + spatial :]
    if len(outer) != spatial or crops.shape != (spatial, 2) or (blocks < 1).any():
        raise ValueError("its blocks and crops don't fit its data")
    name = call.node("Reshape", call.real(0), call.w.ints([*blocks, batch, *outer, *rest]))
    pairs = [each for i in range(spatial) for each in (spatial + 1 + i, i)]
    tail = range(1 + 2 * spatial, 1 + 2 * spatial + len(rest))
    name = call.transposed(name, [spatial, *pairs, *tail])
    whole = [int(size * b) for size, b in zip(outer, blocks, strict=True)]
    name = call.node("Reshape", name, call.w.ints([batch, *whole, *rest]))
    if crops.any():
        ends = [size - int(c) for size, c in zip(whole, crops[:, 1], strict=True)]
        axes = range(1, 1 + spatial)
        name = call.node(
            "Slice", name, call.w.ints(crops[:, 0]), call.w.ints(ends), call.w.ints([*axes])
        )
    call.give(name)


#: Operator of the source -> converter.
SPACE: dict[str, Converter] = {
    "BATCH_TO_SPACE_ND": batch_to_space_nd,
    "DEPTH_TO_SPACE": depth_to_space,
    "SPACE_TO_BATCH_ND": space_to_batch_nd,
    "SPACE_TO_DEPTH": space_to_depth,
}
