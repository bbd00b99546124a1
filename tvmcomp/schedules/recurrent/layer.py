"""A recurrent layer's kernel: its sizes, its buffers, and which of its loops run on threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.recurrent import RecurrentCell
from tvmcomp.schedules.dot import bytes_kernel
from tvmcomp.schedules.parallel import worth_parallel
from tvmcomp.schedules.recurrent.gates import phases
from tvmcomp.schedules.recurrent.integers import padded_units
from tvmcomp.schedules.recurrent.tile import Tile, choose_tile
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx

#: Instructions of an equation, by vector.
_EQUATION = 100
#: So many times longer than a loop that threads run once a step must be which they run often.
_WAIT = 8


def tiles(cell: RecurrentCell, dtype: str, target: TargetDescription) -> list[Tile]:
    """The tile of each phase of ``cell``: weights are packed for it."""
    kernel = bytes_kernel(target) if cell.in_integers else None
    bits = 8 if kernel else int(tvm.DataType(dtype).bits)
    return [
        choose_tile(cell.units, len(phase.gates), cell.batch, bits, target, kernel)
        for phase in phases(cell, cell.activations[0])
    ]


@dataclass
class Layer:
    """What the loops are over.

    Attributes:
        cell: what is computed.
        dtype: of the sums; and of states and cells, but where the layer is in fixed point.
        x: buffer of the projected input.
        weights: of each phase, packed.
        operands: the other buffers, by name.
        results: those of the results that are wanted, by number.
        target: the device.
    """

    cell: RecurrentCell
    dtype: str
    x: Any
    weights: Sequence[Any]
    operands: Mapping[str, Any]
    results: Mapping[int, Any]
    target: TargetDescription

    def __post_init__(self) -> None:
        self.tiles = tiles(self.cell, self.dtype, self.target)
        self.units, self.steps = self.cell.units, self.cell.steps
        self.batch = self.cell.batch
        self.lanes = self.tiles[0].lanes
        self.padded = padded_units(self.tiles)
        self.kernel = bytes_kernel(self.target) if self.cell.in_integers else None
        self.zero = tirx.const(0, self.dtype)

    @property
    def state_dtype(self) -> str:
        """Of the states."""
        return (self.cell.result_dtypes or [self.dtype])[0]

    @property
    def cell_dtype(self) -> str:
        """Of an LSTM's cells, and of what else is kept within a step."""
        return (self.cell.result_dtypes or [self.dtype])[-1]

    @property
    def are_apart(self) -> bool:
        """Whether directions follow one another: there is one, or they have other activations."""
        first, *others = self.cell.activations
        return not others or any(functions != first for functions in others)

    @property
    def step_work(self) -> float:
        """About how many vector instructions a step takes."""
        tile = self.tiles[0]
        sums = self.batch * self.cell.gates * self.padded / tile.lanes
        return sums * (tile.steps + _EQUATION)

    @property
    def is_spread(self) -> bool:
        """Whether the blocks of a step are computed on several threads, which then wait for each
        other: where directions can't be, and a step is long enough."""
        return self.are_apart and self.target.cores > 1 and worth_parallel(self.step_work / _WAIT)

    @property
    def directions_are_spread(self) -> bool:
        """Whether directions are computed on threads of their own."""
        return not self.are_apart and worth_parallel(self.cell.steps * self.step_work)
