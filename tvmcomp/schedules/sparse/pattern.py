"""Which blocks of a constant weight are zero, and the others in the order that a kernel reads them.

A block is ``vectors`` vectors of output channels times the dot product's depth of input channels:
16x1 in float32 and 16x4 in int8 where a vector has 16 lanes. The blocks of a row (a block of output
channels) lie one after the other, and an index says which input channel each begins with:

    weight [O, I] -> values [count, vectors, lanes, depth], index [count], ends [rows + 1]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tvmcomp.schedules.dot import DotKernel


@dataclass(frozen=True)
class BlockSparse:
    """The blocks of a weight that are not zero.

    Attributes:
        values: ``[count, vectors, lanes, depth]``, row after row, by rising input channel.
        index: ``[count]`` int32: the first input channel of each block.
        ends: ``[rows + 1]`` int32: where the blocks of each row begin, and the last ones end.
    """

    values: np.ndarray
    index: np.ndarray
    ends: np.ndarray


def nonzero_blocks(weight: np.ndarray, kernel: DotKernel, vectors: int) -> np.ndarray:
    """Which blocks of ``weight [O, I]`` have anything in them: bool ``[rows, I / depth]``."""
    return np.any(_in_blocks(weight, kernel, vectors) != 0, axis=(2, 3, 4))


def pack_blocks(weight: np.ndarray, kernel: DotKernel, vectors: int, chains: int) -> BlockSparse:
    """``weight [O, I]`` without the blocks that are zero.

    Args:
        weight: with at least ``kernel.depth`` input channels.
        kernel: the dot product.
        vectors: of output channels in a block.
        chains: each row's blocks are filled up with zeros to a multiple of this.
    """
    blocks = _in_blocks(weight, kernel, vectors)
    found = nonzero_blocks(weight, kernel, vectors)
    rows, index, counts = [], [], []
    for row, there in zip(blocks, found, strict=True):
        at = np.flatnonzero(there)
        filling = -len(at) % chains
        empty = np.zeros((filling, *row.shape[1:]), row.dtype)
        rows += [row[at], empty]
        index.append(np.concatenate([at * kernel.depth, np.zeros(filling, np.int64)]))
        counts.append(len(at) + filling)
    values, starts = np.concatenate(rows), np.concatenate(index)
    if not len(values):  # A kernel's tensors have elements.
        values, starts = np.zeros((1, *blocks.shape[2:]), weight.dtype), np.zeros(1, np.int64)
    values, starts = _inside(values, starts, weight.shape[1])
    ends = np.concatenate([[0], np.cumsum(counts)])
    return BlockSparse(np.ascontiguousarray(values), starts.astype(np.int32), ends.astype(np.int32))


def _inside(values: np.ndarray, index: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks that would reach past the last input channel, moved back: nothing is read there."""
    depth = values.shape[-1]
    over = depth - 1 - (channels - 1) % depth
    if not over:
        return values, index
    last = index + depth > channels
    moved = values.copy()
    moved[last] = np.roll(values[last], over, axis=-1)  # What is behind the channels is zero.
    return moved, np.where(last, index - over, index)


def _in_blocks(weight: np.ndarray, kernel: DotKernel, vectors: int) -> np.ndarray:
    """``weight [O, I]`` as ``[rows, I / depth, vectors, lanes, depth]``, filled up with zeros."""
    out_channels, channels = weight.shape
    wide, depth = vectors * kernel.lanes, kernel.depth
    rows, steps = -(-out_channels // wide), -(-channels // depth)
    whole = np.zeros((rows * wide, steps * depth), weight.dtype)
    whole[:out_channels, :channels] = weight
    split = whole.reshape(rows, vectors, kernel.lanes, steps, depth)
    return split.transpose(0, 3, 1, 2, 4)
