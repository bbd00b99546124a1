"""A block of units in one step: sums in registers, then the cell's equations, then the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.recurrent.sums import Sums
from tvmcomp.schedules.rows.loop_nest import (
    SERIAL,
    array,
    index,
    loop,
    sequence,
    vector,
    with_arrays,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx


#: Vectors whose activations are computed at once.
_SIDE_BY_SIDE = 4


class Block(Sums):
    """A block of units in one phase of one step."""

    def statement(self) -> Any:
        """All rows of the batch."""
        tile, batch = self.tile, self.direction.cell.batch
        ahead = loop(batch, self.prefetch, SERIAL, "row")
        if tile.rows == tile.tiles == 1:
            return sequence([ahead, loop(batch, self.one_row, SERIAL, "row")])
        return sequence([ahead, self.several_rows(batch)])

    def one_row(self, row: PrimExpr) -> Any:
        """One row whose sums are all in one tile: they never leave the registers."""
        tile, slots = self.tile, self.phase.slots
        sums = array([len(slots) * tile.block], self.direction.dtype, "sums")

        def place(_r: int, column: int) -> Any:
            return self.at(0, *tile.column(0, column))

        own = self.own(tile.columns)
        begin = [self.begin(own, place(0, c), 0, c) for c in range(tile.columns)]
        every = [(slot, v) for slot in range(len(slots)) for v in range(tile.vectors)]
        starts = [self.start(sums, self.at(0, *each), row, *each) for each in every]
        added = [
            self.add(sums, own, place(0, c), place(0, c), row, 0, c) for c in range(tile.columns)
        ]
        ends = [self.end(sums, row, index(0), v) for v in range(tile.vectors)]
        product = self.product(own, place, row, 1, 0)
        done = [*begin, product, *starts, *added, *self.activated(sums, index(0)), *ends]
        return with_arrays([sums, own], sequence(done))

    def several_rows(self, batch: int) -> Any:
        """Tile by tile, all rows of one after the other while its weights are in the cache, the
        sums put into memory; then the equations, row by row."""
        tile, sums = self.tile, self.direction.arrays["sums"]
        self.first_sum = self.number * self.direction.sums_of_block
        whole, rest = divmod(batch, tile.rows)
        done = []
        for part in range(tile.tiles):

            def rows(at: PrimExpr, part: int = part) -> Any:
                return self.one_tile(sums, at * tile.rows, tile.rows, part)

            done.append(loop(whole, rows, SERIAL, "rows"))
            if rest:
                done.append(self.one_tile(sums, index(whole * tile.rows), rest, part))

        def row(r: PrimExpr) -> Any:
            others = range(len(self.phase.gates), len(self.phase.slots))
            begin = [
                self.start(sums, self.at(r, slot, v), r, slot, v)
                for slot in others
                for v in range(tile.vectors)
            ]
            ends = [self.end(sums, r, r, v) for v in range(tile.vectors)]
            return sequence([*begin, *self.activated(sums, r), *ends])

        return sequence([*done, loop(batch, row, SERIAL, "row")])

    def one_tile(self, sums: Any, first: PrimExpr, count: int, part: int) -> Any:
        """Compute the sums of a tile in registers, and store them."""
        tile = self.tile
        own = self.own(count * tile.columns)
        every = [(r, c) for r in range(count) for c in range(tile.columns)]

        def place(r: int, column: int) -> Any:
            return index((r * tile.columns + column) * tile.lanes)

        begin = [self.begin(own, place(r, c), part, c) for r, c in every]
        ends = []
        for r, c in every:
            to, where = self.at(first + r, *tile.column(part, c)), tile.column(part, c)
            ends.append(self.start(sums, to, first + r, *where))
            ends.append(self.add(sums, own, to, place(r, c), first + r, part, c))
        product = self.product(own, place, first, count, part)
        return with_arrays([own], sequence([*begin, product, *ends]))

    def activated(self, sums: Any, r: PrimExpr) -> list[Any]:
        """What sums of a row become before the equations, some vectors at once."""
        done = []
        for slot, count, function in self.phase.activated:
            begin, left = self.at(r, slot, 0), count * self.tile.vectors
            while left:
                width = min(1 << (left.bit_length() - 1), _SIDE_BY_SIDE)

                def replaced(lane: PrimExpr, begin: Any = begin, function: Any = function) -> Any:
                    value = function(tirx.BufferLoad(sums, [begin + lane]))
                    return tirx.BufferStore(sums, value, [begin + lane])

                done.append(vector(width * self.tile.lanes, replaced))
                begin, left = begin + width * self.tile.lanes, left - width
        return done

    def end(self, sums: Any, row: PrimExpr, r: PrimExpr, v: int) -> Any:
        """The equations of a vector of units of a row, and its place in the result."""
        direction = self.direction
        unit = self.base + v * self.tile.lanes
        lives = direction.lives(self.step, row)
        following = tirx.floormod(self.step + 1, index(2))
        done = []
        for name, equation in self.phase.results:
            buffer = direction.arrays[name]
            to = [following, row] if name == "state" else [row]
            kept = name in ("state", "cell") and lives is not None

            def store(
                lane: PrimExpr,
                name: str = name,
                equation: Any = equation,
                buffer: Any = buffer,
                to: Any = to,
                kept: bool = kept,
            ) -> Any:
                at = _Unit(self, sums, r, v, row, unit + lane, lane)
                value = equation(at)
                if kept:
                    value = tirx.Select(lives, value, at.load(name))
                return tirx.BufferStore(buffer, value, [*to, unit + lane])

            done.append(vector(self.tile.lanes, store))
            if f"{name}_8" in direction.arrays and not direction.cell.dynamic_range:

                def rounded(lane: PrimExpr, name: str = name, to: Any = to) -> Any:
                    return direction.round(name, [*to, unit + lane])

                done.append(vector(self.tile.lanes, rounded))
        if self.phase.results[-1][0] == "state" and 0 in direction.results:
            done += self.give(row, unit, self.present(v), lives, following)
        return sequence(done)

    def give(
        self, row: PrimExpr, unit: PrimExpr, present: int, lives: Any, following: PrimExpr
    ) -> list[Any]:
        """Store the new state among all states; 0 beyond the end of a sequence."""
        direction = self.direction
        time = direction.time(self.step, row)
        states = direction.arrays["state"]
        to = [time, direction.d, row]
        if direction.cell.batch_first:
            to = [row, time, direction.d]
        elif direction.cell.directions_last:
            to = [time, row, direction.d]
        done = []
        for offset, width in self.pieces(present) if present else []:

            def store(lane: PrimExpr, offset: int = offset) -> Any:
                at = unit + offset + lane
                value = tirx.BufferLoad(states, [following, row, at])
                if lives is not None:
                    value = tirx.Select(lives, value, self.zero)
                return tirx.BufferStore(direction.results[0], value, [*to, at])

            done.append(vector(width, store))
        return done


@dataclass(frozen=True)
class _Unit:
    """See :class:`~tvmcomp.schedules.recurrent.phase.Element`."""

    block: Block
    sums: Any
    r: Any
    v: int
    row: Any
    unit: Any
    lane: Any

    def start(self, slot: int) -> Any:
        return tirx.BufferLoad(self.sums, [self.block.at(self.r, slot, self.v) + self.lane])

    def load(self, name: str) -> Any:
        before = [tirx.floormod(self.block.step, index(2))] if name == "state" else []
        return tirx.BufferLoad(self.block.direction.arrays[name], [*before, self.row, self.unit])

    def peephole(self, number: int) -> Any:
        return tirx.BufferLoad(self.block.direction.arrays["peepholes"], [index(number), self.unit])
