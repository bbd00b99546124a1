"""Winograd's convolution F(4x4, 3x3) or F(2x2, 3x3): a quarter of the multiplications, in TE.

A tile of 4x4 outputs is computed from 6x6 inputs through 36 products instead of 144 (2x2 outputs
from 4x4 inputs through 16 instead of 36). Over all tiles and channels these are 36 matrix products,
between two transforms that only add and scale:

    output = A^T [ (G w G^T) * (B^T d B) ] A

After Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016). The weights are
transformed at build time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.schedules.anchor import ANCHOR, Anchor, Widths, element
from tvmcomp.schedules.blocking import register_blocks
from tvmcomp.schedules.conv.winograd_tiles import FOUR, TWO, Tile
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Tensor

te = tvm.te
tirx = tvm.tirx

#: Value of :data:`ANCHOR` on the block of the matrix products.
WINOGRAD = "winograd"


#: What the direct convolution's multiplications must exceed this one's cost by.
_MARGIN = 1.2
#: Vector instructions that the transforms take for each value of a tile and a channel.
_TRANSFORM = 2.5
#: Bytes a cycle that weights too large for the cache of a core arrive at.
BYTES_PER_CYCLE = 3
#: More vectors of channels than this in a block of accumulators make the compiler spill them.
_MOST_VECTORS = 2


def winograd_tile(anchor: Anchor, kernel: DotKernel, target: TargetDescription) -> Tile | None:
    """The tile that this convolution is fastest with; None where the direct one is faster.

    A model in cycles of one core: multiply-adds, transforms, and the transformed weights, two or
    four times as large, where they don't stay in a core's cache.
    """
    shape, window, out_channels = anchor.shape, anchor.window, anchor.out_channels
    if (kernel.data, kernel.weight) != ("float32", "float32") or window.groups != 1:
        return None
    if (window.kernel, window.strides, window.dilation) != ((3, 3), (1, 1), (1, 1)):
        return None
    lanes = output_lanes(out_channels, target)
    if lanes < min(4, target.vector_bits // 32) or shape[-1] < lanes:
        return None
    pixels = shape[0] * int(np.prod(anchor.output))
    direct = pixels * 9 * shape[-1] * out_channels / (target.vector_bits // 32)
    # Smaller weights first: the larger tile has to be clearly faster.
    best, cost = None, direct / _MARGIN
    for tile in (TWO, FOUR):
        cycles = winograd_cycles(tile, anchor, target)
        if cycles < cost:
            best, cost = tile, cycles / _MARGIN
    return best


def winograd_cycles(tile: Tile, anchor: Anchor, target: TargetDescription) -> float:
    """What a tile takes by the model of :func:`winograd_tile`."""
    channels, out_channels = anchor.channels, anchor.out_channels
    rows, columns = tile_grid(tile, anchor, target)
    values = anchor.shape[0] * rows * columns * tile.reach**2
    weight_bytes = transformed_bytes(tile, anchor)
    lanes = output_lanes(out_channels, target)
    multiplications = values * channels * out_channels / lanes
    transforms = _TRANSFORM * values * (channels + out_channels) / lanes
    transfer = weight_bytes / BYTES_PER_CYCLE if weight_bytes > target.l2_kib << 10 else 0
    return multiplications + transforms + transfer


def transformed_bytes(tile: Tile, anchor: Anchor) -> int:
    """Size of the convolution's weight once it is transformed."""
    return 4 * tile.reach**2 * anchor.channels * anchor.out_channels


def output_lanes(out_channels: int, target: TargetDescription) -> int:
    """Output channels in a vector: as many as fit a register and divide them."""
    lanes = target.vector_bits // 32
    while out_channels % lanes:
        lanes //= 2
    return lanes


def tile_grid(tile: Tile, anchor: Anchor, target: TargetDescription) -> tuple[int, int]:
    """Rows and columns of tiles: a row is a whole number of accumulator blocks."""
    height, width = anchor.output
    columns = -(-width // tile.size)
    pixels, _ = accumulator_blocks(columns, anchor.out_channels, target)[0]
    return -(-height // tile.size), -(-columns // pixels) * pixels


def accumulator_blocks(
    columns: int, out_channels: int, target: TargetDescription
) -> list[tuple[int, int]]:
    """Blocks ``(tiles, vectors of channels)`` of the matrix products, best first."""
    vectors = out_channels // output_lanes(out_channels, target)
    blocks = register_blocks(columns, vectors, target)
    return [(p, v) for p, v in blocks if v <= _MOST_VECTORS]


def winograd_padding(tile: Tile, anchor: Anchor, target: TargetDescription) -> Widths:
    """What :func:`winograd_conv` needs around its data: whole tiles."""
    spatial = []
    grid = tile_grid(tile, anchor, target)
    for size, (before, _), count in zip(anchor.spatial, anchor.window.padding, grid, strict=True):
        spatial.append((before, count * tile.size + 2 - size - before))
    return ((0, 0), *spatial, (0, 0))


def pack_winograd_weight(tile: Tile, weight: np.ndarray, target: TargetDescription) -> np.ndarray:
    """Transform ``[O, 3, 3, I]`` and pack it into ``[O/lanes, reach, reach, I, lanes]``."""
    lanes = output_lanes(weight.shape[0], target)
    by_row = np.einsum("ai,oijc->oajc", tile.weight, weight.astype(np.float64))
    transformed = np.einsum("bj,oajc->oabc", tile.weight, by_row)
    split = transformed.reshape(-1, lanes, *transformed.shape[1:])
    return np.ascontiguousarray(split.transpose(0, 2, 3, 4, 1), np.float32)


def winograd_conv(
    tile: Tile, data: Tensor, weight: Tensor, anchor: Anchor, target: TargetDescription
) -> Tensor:
    """Convolution of ``data [N, H, W, C]`` with a weight from :func:`pack_winograd_weight`.

    Args:
        tile: of :func:`winograd_tile`.
        data: with the border of :func:`winograd_padding` around it.
        weight: the transformed weight.
        anchor: the convolution.
        target: the device.

    Returns:
        A TE tensor ``[N, H', W', out_channels]`` of float32.
    """
    (batch,), channels, out_channels = anchor.lead, anchor.channels, anchor.out_channels
    size, reach = tile.size, tile.reach
    rows, columns = tile_grid(tile, anchor, target)
    lanes = output_lanes(out_channels, target)
    k = te.reduce_axis((0, channels), "k")
    part = te.compute(
        (batch, rows, reach, columns * size + 2, channels),
        lambda n, y, i, w, c: _row_of(tile.data, i, lambda j: data[n, y * size + j, w, c]),
        name="transformed_rows",
    )
    transformed = te.compute(
        (batch, rows, reach, reach, columns, channels),
        lambda n, y, i, j, x, c: _row_of(tile.data, j, lambda w: part[n, y, i, x * size + w, c]),
        name="transformed",
    )
    product = te.compute(
        (batch, rows, reach, reach, columns, out_channels),
        lambda n, y, i, j, x, o: te.sum(
            transformed[n, y, i, j, x, k] * weight[o // lanes, i, j, k, o % lanes], axis=k
        ),
        name="product",
        attrs={ANCHOR: WINOGRAD},
    )
    inverse_rows = te.compute(
        (batch, rows, size, reach, columns, out_channels),
        lambda n, y, r, j, x, o: _row_of(tile.inverse, r, lambda i: product[n, y, i, j, x, o]),
        name="inverse_rows",
    )

    def inverse(n: Any, h: Any, w: Any, o: PrimExpr) -> Any:
        y, r, x, q = h // size, h % size, w // size, w % size
        return _row_of(tile.inverse, q, lambda j: element(inverse_rows, n, y, r, j, x, o))

    return te.compute((batch, *anchor.output, out_channels), inverse, name="inverse")


def _row_of(matrix: np.ndarray, index: PrimExpr, at: Callable[[int], Any]) -> Any:
    """Element ``index`` of ``matrix`` times the vector of ``at(0), at(1), …``.

    The loop over ``index`` has to be unrolled: what is not selected then disappears.
    """
    rows = [_combination(row, at) for row in matrix]
    chosen = rows[-1]
    for i in range(len(rows) - 2, -1, -1):
        chosen = tirx.Select(index == i, rows[i], chosen)
    return chosen


def _combination(factors: np.ndarray, at: Callable[[int], Any]) -> Any:
    terms = [
        at(i) if factor == 1 else at(i) * tirx.const(float(factor), "float32")
        for i, factor in enumerate(factors)
        if factor
    ]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
