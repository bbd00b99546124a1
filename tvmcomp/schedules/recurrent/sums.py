"""The sums of a block of units in one step: what they begin with, and a tile of products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tvmcomp.fixed_point import Multiplier
from tvmcomp.recurrent import RecurrentCell
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.dot_intrinsic import EMITTED
from tvmcomp.schedules.recurrent.fixed_point import saturated, scaled
from tvmcomp.schedules.recurrent.phase import Phase
from tvmcomp.schedules.recurrent.tile import Tile
from tvmcomp.schedules.rows.loop_nest import (
    SERIAL,
    array,
    index,
    loop,
    sequence,
    tails,
    vector,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

#: Bytes of a line of the caches.
_LINE = 64


class Direction(Protocol):
    """The loop over time that a block is part of.

    Attributes:
        cell: what is computed.
        d: number of the direction.
        x: the projected input.
        results: buffer of each result that is wanted, by number.
        arrays: those of :func:`~tvmcomp.schedules.recurrent.gates.arrays` and others, by name.
        dtype: of all of them.
        operands: of the kernel, by name.
        kernel: the dot product of a layer in integers.
        sums_of_block: so many sums of blocks before it lie before those of a block.
    """

    cell: RecurrentCell
    d: Any
    x: Any
    results: Mapping[int, Any]
    arrays: dict[str, Any]
    dtype: str
    operands: Mapping[str, Any]
    kernel: DotKernel | None
    sums_of_block: int

    def round(self, name: str, at: list[Any]) -> Any:
        """Store an element of ``state`` or ``reset_state`` in 8 bits as well."""
        ...

    def time(self, step: PrimExpr, row: PrimExpr) -> Any:
        """The index in time of a step of the sequence in ``row``."""
        ...

    def lives(self, step: PrimExpr, row: PrimExpr) -> Any:
        """Whether the sequence in ``row`` has the step; None where it always has."""
        ...


@dataclass
class Sums:
    """The sums of a block of units in one phase of one step.

    Attributes:
        direction: the loop over time.
        phase: of the step.
        tile: its sizes.
        weight: the packed weights.
        step: number of the step.
        number: of the block.
        is_full: all its units are the layer's.
    """

    direction: Direction
    phase: Phase
    tile: Tile
    weight: Any
    step: Any
    number: Any
    is_full: bool

    def __post_init__(self) -> None:
        self.zero = tirx.const(0, self.direction.dtype)
        #: Where its sums begin in their array.
        self.first_sum: Any = index(0)
        self.base = self.number * self.tile.block

    def present(self, v: int) -> int:
        """Lanes of the block's vector ``v`` that are units of the layer."""
        if self.is_full:
            return self.tile.lanes
        first = int(self.number) * self.tile.block + v * self.tile.lanes
        return min(max(self.direction.cell.units - first, 0), self.tile.lanes)

    def pieces(self, present: int) -> list[tuple[int, int]]:
        """Offset and width of the vectors that cover the first ``present`` lanes of one."""
        lanes = self.tile.lanes
        return [(0, lanes)] if present == lanes else tails(present, lanes)

    def at(self, r: Any, slot: int, v: int) -> Any:
        """Where the sums of a vector of a row begin."""
        row = len(self.phase.slots) * self.tile.block
        return self.first_sum + r * row + index((slot * self.tile.vectors + v) * self.tile.lanes)

    def start(self, sums: Any, place: Any, row: PrimExpr, slot: int, v: int) -> Any:
        """What the product is added to: a vector of ``x`` or of the recurrent bias."""
        gate = self.phase.slots[slot]
        unit = self.base + v * self.tile.lanes
        if gate is None:
            bias = self.direction.arrays.get("recurrent_bias")

            def of_bias(lane: PrimExpr) -> Any:
                value = self.zero if bias is None else tirx.BufferLoad(bias, [unit + lane])
                return tirx.BufferStore(sums, value, [place + lane])

            return vector(self.tile.lanes, of_bias)
        x_row, column = self.of_x(row, gate)
        column = column + v * self.tile.lanes
        present = self.present(v)
        done = []
        if present < self.tile.lanes:
            done.append(
                vector(
                    self.tile.lanes,
                    lambda lane: tirx.BufferStore(sums, self.zero, [place + lane]),
                )
            )
        for offset, width in self.pieces(present) if present else []:

            def of_x(lane: PrimExpr, offset: int = offset) -> Any:
                value = tirx.BufferLoad(self.direction.x, [x_row, column + offset + lane])
                return tirx.BufferStore(sums, value, [place + offset + lane])

            done.append(vector(width, of_x))
        return sequence(done)

    def of_x(self, row: PrimExpr, gate: int) -> tuple[Any, Any]:
        """Where in ``x`` the block's units of a gate begin in this step of a row of the batch."""
        cell = self.direction.cell
        time = self.direction.time(self.step, row)
        x_row = row * cell.steps + time if cell.batch_first else time * cell.batch + row
        return x_row, (self.direction.d * cell.gates + gate) * cell.units + self.base

    def prefetch(self, row: PrimExpr) -> Any:
        """Ask for the block's part of ``x``, which is read when the products are there: it lies in
        pieces that the processor does not foresee."""
        x, size = self.direction.x, int(tvm.DataType(self.direction.dtype).bits) // 8
        units = sum(self.present(v) for v in range(self.tile.vectors))
        done = []
        for gate in (gate for gate in self.phase.slots if gate is not None):
            x_row, column = self.of_x(row, gate)
            for unit in range(0, units, _LINE // size):
                at = tirx.address_of(tirx.BufferLoad(x, [x_row, column + unit]))
                read, second_level, data = (tirx.const(n, "int32") for n in (0, 3, 1))
                done.append(
                    tirx.Evaluate(
                        tirx.call_llvm_intrin("void", "llvm.prefetch", at, read, second_level, data)
                    )
                )
        return sequence(done)

    def own(self, columns: int) -> Any:
        """A new array of the sums of so many columns of one row, for the products alone."""
        dtype = "int32" if self.direction.kernel is not None else self.direction.dtype
        return array([columns * self.tile.lanes], dtype, "own")

    def begin(self, own: Any, place: Any, part: int, column: int) -> Any:
        """What a vector of products begins with."""
        if self.direction.kernel is None:
            return vector(
                self.tile.lanes, lambda lane: tirx.BufferStore(own, self.zero, [place + lane])
            )
        d, gate, unit = self.row_of_weights(part, column)
        corrections = self.direction.operands["corrections"]
        zero_point = self.direction.arrays.get("zero_point")

        def of_zero_point(lane: PrimExpr) -> Any:
            value = tirx.BufferLoad(corrections, [d, gate, unit + lane])
            if zero_point is not None:
                value = value * tirx.BufferLoad(zero_point, [index(0)])
            return tirx.BufferStore(own, value, [place + lane])

        return vector(self.tile.lanes, of_zero_point)

    def row_of_weights(self, part: int, column: int) -> tuple[Any, Any, Any]:
        """Direction, gate and first unit of a tile's column."""
        slot, v = self.tile.column(part, column)
        return self.direction.d, index(self.phase.gates[slot]), self.base + v * self.tile.lanes

    def add(
        self, sums: Any, own: Any, to: Any, place: Any, row: PrimExpr, part: int, column: int
    ) -> Any:
        """Add a vector of products, times their scales in integers, to ``sums``."""
        numbers = self.direction.cell.fixed_point
        if numbers is not None:
            number = self.phase.gates[self.tile.column(part, column)[0]]
            factors = numbers.of_input[number], numbers.of_state[number]
            return vector(
                self.tile.lanes, lambda lane: _gate(sums, to + lane, own, place + lane, *factors)
            )
        d, gate, unit = self.row_of_weights(part, column)
        ranges = self.direction.arrays.get("range")

        def added(lane: PrimExpr) -> Any:
            product = tirx.BufferLoad(own, [place + lane])
            if self.direction.kernel is not None:
                scale = tirx.BufferLoad(self.direction.operands["scales"], [d, gate, unit + lane])
                if ranges is not None:
                    scale = scale * tirx.BufferLoad(ranges, [row])
                product = product.astype(self.direction.dtype) * scale
            return tirx.BufferStore(sums, tirx.BufferLoad(sums, [to + lane]) + product, [to + lane])

        return vector(self.tile.lanes, added)

    def product(
        self, own: Any, place: Callable[[int, int], Any], first: PrimExpr, count: int, part: int
    ) -> Any:
        """Add the product of a tile to ``own``; ``place`` says where the sums of a column are."""
        if self.direction.kernel is not None:
            return self.integer_product(own, place, first, count, part)
        tile = self.tile
        source = self.direction.arrays[self.phase.source]
        before = [tirx.floormod(self.step, index(2))] if self.phase.source == "state" else []

        def element(k: PrimExpr) -> Any:
            done = []
            for r, column in tile.order(count):

                def add(lane: PrimExpr, r: int = r, c: int = column) -> Any:
                    state = tirx.BufferLoad(source, [*before, first + r, k])
                    at = [self.direction.d, self.number, index(part), k, index(c), lane]
                    weight = tirx.BufferLoad(self.weight, at)
                    to = [place(r, c) + lane]
                    return tirx.BufferStore(own, tirx.BufferLoad(own, to) + state * weight, to)

                done.append(vector(tile.lanes, add))
            return sequence(done)

        return loop(self.direction.cell.units, element, SERIAL, "k")

    def integer_product(
        self, own: Any, place: Callable[[int, int], Any], first: PrimExpr, count: int, part: int
    ) -> Any:
        """The same in integers, with the target's dot product."""
        tile, kernel = self.tile, self.direction.kernel
        assert kernel is not None
        source = self.direction.arrays[f"{self.phase.source}_8"]
        before = [tirx.floormod(self.step, index(2))] if self.phase.source == "state" else []
        emit = EMITTED[kernel.intrin] if kernel.intrin else _multiply_add

        def lanes(begin: Any, count: int) -> Any:
            return tirx.Ramp(begin, index(1), count) if count > 1 else begin

        def element(step: PrimExpr) -> Any:
            done = []
            for r, c in tile.order(count):
                depth = lanes(step * tile.depth, tile.depth)
                state = tirx.BufferLoad(source, [*before, first + r, depth])
                at = [self.direction.d, self.number, index(part), step, index(c)]
                inner = lanes(index(0), tile.lanes * tile.depth)
                weight = tirx.BufferLoad(self.weight, [*at, inner])
                where = [lanes(place(r, c), tile.lanes)]
                value = emit(state, weight, tirx.BufferLoad(own, where))
                done.append(tirx.BufferStore(own, value, where))
            return sequence(done)

        return loop(tile.steps, element, SERIAL, "k")


def _gate(sums: Any, to: Any, own: Any, at: Any, of_input: Multiplier, of_state: Multiplier) -> Any:
    """Make a gate's sum Q3.12 of the products of its input, at ``to``, and of the state."""
    given = saturated(scaled(tirx.BufferLoad(sums, [to]), of_input))
    total = saturated(given + scaled(tirx.BufferLoad(own, [at]), of_state))
    return tirx.BufferStore(sums, total, [to])


def _multiply_add(state: PrimExpr, weight: PrimExpr, sums: PrimExpr) -> Any:
    """Where the target has no dot product."""
    lanes = int(tvm.DataType(str(sums.ty.dtype)).lanes)
    return sums + tirx.Broadcast(state.astype("int32"), lanes) * weight.astype(f"int32x{lanes}")
