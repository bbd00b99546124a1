"""Recurrent weights in the order in which the loop over time reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvmcomp.schedules.recurrent.tile import Tile
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Tensor

te = tvm.te
tirx = tvm.tirx


def packed_shape(tile: Tile, directions: int) -> tuple[int, ...]:
    """``[direction, block, tile, step of the sum, column, lane and depth]``."""
    inner = tile.lanes * tile.depth
    return (directions, tile.blocks, tile.tiles, tile.steps, tile.columns, inner)


def pack(weight: np.ndarray, directions: int, gates: Sequence[int], tile: Tile) -> np.ndarray:
    """Pack weights that are known at build time.

    Args:
        weight: ``[D G H, H]``.
        directions: D.
        gates: those to pack, by their number in ``weight``.
        tile: the order; units beyond the layer's have weights of 0.
    """
    shape = packed_shape(tile, directions)
    d, block, part, step, column, inner = np.indices(shape, sparse=True)
    lane, k = inner // tile.depth, step * tile.depth + inner % tile.depth
    vector = part * tile.columns + column
    gate = np.array(gates)[vector // tile.vectors]
    unit = block * tile.block + vector % tile.vectors * tile.lanes + lane
    inside = (unit < tile.units) & (k < tile.units)
    row = d * (len(weight) // directions) + gate * tile.units + np.minimum(unit, tile.units - 1)
    values = weight[row, np.minimum(k, tile.units - 1)]
    return np.ascontiguousarray(np.where(inside, values, weight.dtype.type(0)))


def pack_rows(numbers: np.ndarray, directions: int, units: int, padded: int) -> np.ndarray:
    """A number for each row of the weights ``[D G H]`` as ``[D, G, units with padding]``."""
    shaped = numbers.reshape(directions, -1, units)
    return np.pad(shaped, [(0, 0), (0, 0), (0, padded - units)])


def pack_given(weight: Tensor, directions: int, gates: Sequence[int], tile: Tile) -> Tensor:
    """:func:`pack` of float weights that are known when the network runs only, as a TE tensor."""

    def element(d: Any, block: Any, part: Any, k: Any, column: Any, lane: Any) -> Any:
        vector = part * tile.columns + column
        gate: Any = tirx.const(gates[0], "int64")
        for number, given in enumerate(gates[1:], 1):
            gate = tirx.Select(vector // tile.vectors >= number, tirx.const(given, "int64"), gate)
        unit = block * tile.block + vector % tile.vectors * tile.lanes + lane
        first = d * (int(weight.shape[0]) // directions)
        row = first + gate * tile.units + tirx.min(unit, tile.units - 1)
        zero = tirx.const(0, str(weight.dtype))
        return tirx.Select(unit < tile.units, weight[row, k], zero)

    return te.compute(packed_shape(tile, directions), element, name="pack")
