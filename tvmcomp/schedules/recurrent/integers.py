"""Recurrent layers in integers: how the state is rounded, and what its products begin with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tvmcomp.recurrent import RecurrentCell
from tvmcomp.schedules.dot import bytes_kernel
from tvmcomp.schedules.recurrent.packing import pack_rows
from tvmcomp.schedules.recurrent.tile import Tile
from tvmcomp.targets import TargetDescription

#: What a state of 1 is in 8 bits, beside the zero point of the type.
STEPS = 127
ZERO_POINTS = {"uint8": 128, "int8": 0}


def of_integers(
    cell: RecurrentCell,
    weight: np.ndarray,
    scale: np.ndarray | None,
    planned: Sequence[Tile],
    target: TargetDescription,
) -> dict[str, np.ndarray]:
    """What the kernel of a layer in integers reads beside the packed weights, by name.

    Args:
        cell: what it computes.
        weight: int8 ``[D G H, H]``.
        scale: of each of its rows; None for a layer in fixed point, which has its own.
        planned: its tiles.
        target: the device.

    Returns:
        ``scales``, of the products, and ``corrections``, what the sums begin with: the share of a
        state's zero point, of a dynamic range that of a zero point of 1. Both are
        ``[D, G, units with padding]``.
    """
    padded = padded_units(planned)
    offset = 1 if cell.dynamic_range else ZERO_POINTS[bytes_kernel(target).data]
    if cell.fixed_point is not None:
        offset += cell.fixed_point.state_zero_point
    found = {"corrections": weight.sum(axis=1, dtype=np.int32) * np.int32(-offset)}
    if scale is not None:
        step = np.float32(1 if cell.dynamic_range else 1 / STEPS)
        found["scales"] = scale.astype(np.float32) * step
    names = [name for name in ("scales", "corrections") if name in found]
    return {name: pack_rows(found[name], cell.directions, cell.units, padded) for name in names}


def padded_units(planned: Sequence[Tile]) -> int:
    """Units with those that fill the last block of any phase."""
    return max(tile.blocks * tile.block for tile in planned)
