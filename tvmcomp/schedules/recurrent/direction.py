"""The loop over time of one direction."""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.recurrent.block import Block
from tvmcomp.schedules.recurrent.dynamic_range import round_in_range
from tvmcomp.schedules.recurrent.phase import Phase
from tvmcomp.schedules.recurrent.state_arrays import StateArrays
from tvmcomp.schedules.recurrent.tile import Tile
from tvmcomp.schedules.rows.loop_nest import PARALLEL, SERIAL, index, loop, sequence, with_arrays
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx


class Direction(StateArrays):
    """The loop over time of one direction."""

    def statement(self) -> Any:
        """Start, loop, results."""
        layer = self.layer
        steps = loop(layer.steps, self.step, SERIAL, "step")
        body = [*self.starts(), steps, *self.ends()]
        return with_arrays(list(self.arrays.values()), sequence(body))

    def step(self, step: PrimExpr) -> Any:
        """All phases of one step.

        Where the weights are larger than the cache every other step takes the blocks from the last
        to the first: those that were read last are still there.
        """
        layer = self.layer
        done = [round_in_range(self, step)] if self.cell.dynamic_range else []
        for phase, tile, weight in zip(self.phases, layer.tiles, layer.weights, strict=True):
            full = layer.units // tile.block

            def block(
                at: PrimExpr,
                is_full: bool = True,
                phase: Phase = phase,
                tile: Tile = tile,
                weight: Any = weight,
            ) -> Any:
                return Block(self, phase, tile, weight, step, at, is_full).statement()

            def back_and_forth(at: PrimExpr, block: Any = block, last: int = full - 1) -> Any:
                odd = tirx.floormod(step, index(2)) == index(1)
                return block(tirx.Select(odd, index(last) - at, at))

            if full:
                order = block if self.fits_the_cache() else back_and_forth
                done.append(loop(full, order, PARALLEL if layer.is_spread else SERIAL, "block"))
            if full < tile.blocks:
                done.append(block(index(full), is_full=False))
        return sequence(done)

    def fits_the_cache(self) -> bool:
        """Whether the core's own cache holds the weights of a direction."""
        layer = self.layer
        bits = int(tvm.DataType(str(layer.weights[0].dtype)).bits)
        numbers = self.cell.gates * layer.padded * layer.units
        return numbers * bits // 8 <= layer.target.l2_kib * 1024

    def lives(self, step: PrimExpr, row: PrimExpr) -> Any:
        """Whether the sequence in ``row`` has the ``step``; None where it always has."""
        length = self.length(row)
        return None if length is None else step < length

    def time(self, step: PrimExpr, row: PrimExpr) -> Any:
        """The index in time of a ``step``; beyond the end of a sequence, the step itself."""
        backward = self.cell.backward
        if not any(backward):
            return step
        length = self.length(row)
        if length is None:
            mirrored = index(self.layer.steps - 1) - step
        else:
            mirrored = tirx.Select(step < length, length - index(1) - step, step)
        if all(backward):
            return mirrored
        if isinstance(self.d, tirx.IntImm):
            return mirrored if backward[int(self.d)] else step
        return tirx.Select(self.d == index(backward.index(True)), mirrored, step)
