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
    """``[direction, block, tile, state element, column, lane]``."""
    return (directions, tile.blocks, tile.tiles, tile.units, tile.columns, tile.lanes)


def pack(weight: np.ndarray, gates: Sequence[int], tile: Tile) -> np.ndarray:
    """Pack weights that are known at build time.

    Args:
        weight: ``[D, G H, H]``.
        gates: those to pack, by their number in ``weight``.
        tile: the order; units beyond the layer's have weights of 0.
    """
    d, block, part, k, column, lane = np.indices(packed_shape(tile, len(weight)), sparse=True)
    vector = part * tile.columns + column
    gate = np.array(gates)[vector // tile.vectors]
    unit = block * tile.block + vector % tile.vectors * tile.lanes + lane
    inside = unit < tile.units
    row = gate * tile.units + np.where(inside, unit, 0)
    return np.ascontiguousarray(np.where(inside, weight[d, row, k], weight.dtype.type(0)))


def pack_given(weight: Tensor, gates: Sequence[int], tile: Tile) -> Tensor:
    """:func:`pack` of weights that are known when the network runs only, as a TE tensor."""

    def element(d: Any, block: Any, part: Any, k: Any, column: Any, lane: Any) -> Any:
        vector = part * tile.columns + column
        gate: Any = tirx.const(gates[0], "int64")
        for number, given in enumerate(gates[1:], 1):
            gate = tirx.Select(vector // tile.vectors >= number, tirx.const(given, "int64"), gate)
        unit = block * tile.block + vector % tile.vectors * tile.lanes + lane
        row = gate * tile.units + tirx.min(unit, tile.units - 1)
        zero = tirx.const(0, str(weight.dtype))
        return tirx.Select(unit < tile.units, weight[d, row, k], zero)

    return te.compute(packed_shape(tile, int(weight.shape[0])), element, name="pack")
