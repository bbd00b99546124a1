"""A recurrent layer as one kernel: for each direction a loop over time, its state in the cache.

    for each direction, on threads of their own
        state, cell = the initial ones
        for each step
            for each phase, block of units, tile of rows
                sums = x of the step + state x weights          in registers
                new state, new cell = the cell's equations      in registers
        results = state, cell

State, cell and the like have whole vectors of units; ``x`` and the results have not, and their last
vector is taken in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.recurrent import RecurrentCell
from tvmcomp.schedules.dot import DotKernel, int8_kernel
from tvmcomp.schedules.parallel import worth_parallel
from tvmcomp.schedules.recurrent.block import Block
from tvmcomp.schedules.recurrent.gates import Phase, arrays, phases
from tvmcomp.schedules.recurrent.packing import pack_rows
from tvmcomp.schedules.recurrent.tile import Tile, choose_tile
from tvmcomp.schedules.rows.loop_nest import (
    PARALLEL,
    SERIAL,
    index,
    loop,
    sequence,
    vectors,
    with_arrays,
)
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Tensor

te = tvm.te
tirx = tvm.tirx

#: What a state of 1 is in 8 bits, beside the zero point of the type.
STEPS = 127
ZERO_POINTS = {"uint8": 128, "int8": 0}
#: Instructions of an equation, by vector.
_EQUATION = 100
#: More than the usual 64: the array is taken from the workspace, which aligns it.
_ALIGNED = 128


def of_integers(
    cell: RecurrentCell,
    weight: np.ndarray,
    scale: np.ndarray,
    planned: Sequence[Tile],
    target: TargetDescription,
) -> dict[str, np.ndarray]:
    """What the kernel of a layer in integers reads beside the packed weights, by name.

    Args:
        cell: what it computes.
        weight: int8 ``[D G H, H]``.
        scale: of each of its rows.
        planned: its tiles.
        target: the device.

    Returns:
        ``scales``, of the products, and ``corrections``, what the sums begin with: the share of a
        state's zero point. Both are ``[D, G, units with padding]``.
    """
    padded = padded_units(planned)
    offset = ZERO_POINTS[int8_kernel(target, row=1).data]
    sums = weight.sum(axis=1, dtype=np.int32) * np.int32(-offset)
    scales = scale.astype(np.float32) * np.float32(1 / STEPS)
    return {
        name: pack_rows(numbers, cell.directions, cell.units, padded)
        for name, numbers in (("scales", scales), ("corrections", sums))
    }


def padded_units(planned: Sequence[Tile]) -> int:
    """Units with those that fill the last block of any phase."""
    return max(tile.blocks * tile.block for tile in planned)


def tiles(cell: RecurrentCell, dtype: str, target: TargetDescription) -> list[Tile]:
    """The tile of each phase of ``cell``: weights are packed for it."""
    kernel = int8_kernel(target, row=1) if cell.in_integers else None
    bits = 8 if kernel else int(tvm.DataType(dtype).bits)
    return [
        choose_tile(cell.units, len(phase.gates), cell.batch, bits, target, kernel)
        for phase in phases(cell, cell.activations[0])
    ]


def recurrent_layer(
    cell: RecurrentCell,
    x: Tensor,
    weights: Sequence[Tensor],
    operands: Mapping[str, Tensor],
    wanted: Sequence[int],
    target: TargetDescription,
) -> list[Tensor]:
    """The layer as TE tensors.

    Args:
        cell: what it computes.
        x: as of :func:`tvmcomp.recurrent.recurrent`.
        weights: of each phase, packed.
        operands: those of ``cell.operands``, by name; in place of ``weight_scale`` those of
            :func:`of_integers`.
        wanted: numbers of the results that are read: of all states, the last state, the last cell.
        target: the device.

    Returns:
        The results of ``wanted``.
    """
    shapes = cell.result_shapes
    dtype = str(x.dtype)
    names = list(operands)

    def body(inputs: Any, outputs: Any) -> Any:
        given = dict(zip(names, inputs[1 + len(weights) :], strict=True))
        results = dict(zip(wanted, outputs, strict=True))
        packed = inputs[1 : 1 + len(weights)]
        layer = _Layer(cell, dtype, inputs[0], packed, given, results, target)
        return layer.all_directions()

    results = te.extern(
        [shapes[number] for number in wanted],
        [x, *weights, *(operands[name] for name in names)],
        body,
        name=cell.kind,
        dtype=[dtype] * len(wanted),
    )
    return list(results) if len(wanted) > 1 else [results]


@dataclass
class _Layer:
    """The loops, over the kernel's buffers."""

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
        self.kernel = int8_kernel(self.target, row=1) if self.cell.in_integers else None
        self.zero = tirx.const(0, self.dtype)

    def all_directions(self) -> Any:
        """The kernel's statement."""
        cell, count = self.cell, self.cell.directions
        products = cell.gates * self.padded * (self.units + _EQUATION) / self.lanes
        work = self.steps * self.batch * products
        same = all(functions == cell.activations[0] for functions in cell.activations)
        if count == 1 or not same:
            return sequence([self.direction(index(d), d) for d in range(count)])
        kind = PARALLEL if worth_parallel(work) else SERIAL
        return loop(count, lambda d: self.direction(d, 0), kind, "direction")

    def direction(self, d: PrimExpr, like: int) -> Any:
        """One direction ``d``, with the activations of the direction ``like``."""
        return _Direction(self, d, phases(self.cell, self.cell.activations[like])).statement()


class _Direction:
    """The loop over time of one direction."""

    def __init__(self, layer: _Layer, d: PrimExpr, steps: Sequence[Phase]) -> None:
        self.layer = layer
        self.cell = layer.cell
        self.d = d
        self.x = layer.x
        self.results = layer.results
        self.dtype = layer.dtype
        self.operands = layer.operands
        self.kernel = layer.kernel
        self.phases = steps
        self.arrays = {
            "state": self.array([2, layer.batch, layer.padded], "state"),
            **{name: self.array([layer.batch, layer.padded], name) for name in arrays(layer.cell)},
        }
        largest = max(
            tile.rows * len(phase.slots) * tile.block
            for phase, tile in zip(steps, layer.tiles, strict=True)
        )
        self.arrays["sums"] = self.array([largest], "sums")
        if layer.kernel is not None:
            self.arrays |= self.integer_arrays(layer.kernel)
        if "peepholes" in layer.operands:
            self.arrays["peepholes"] = self.array([3, layer.padded], "peepholes")
        if "recurrent_bias" in layer.operands:
            self.arrays["recurrent_bias"] = self.array([layer.padded], "recurrent_bias")

    def integer_arrays(self, kernel: DotKernel) -> dict[str, Any]:
        """The state in 8 bits, and where it may begin outside of -1 to 1 its range in each row."""
        layer = self.layer
        padded = max(layer.padded, *(tile.steps * tile.depth for tile in layer.tiles))
        found = {
            f"{name}_8": self.array(
                [*([2] if name == "state" else []), layer.batch, padded], f"{name}_8", kernel.data
            )
            for name in ("state", *(p.source for p in self.phases if p.source != "state"))
        }
        if "initial_state" in layer.operands:
            found["range"] = self.array([layer.batch], "range")
        return found

    def array(self, shape: list[int], name: str, dtype: str | None = None) -> Any:
        sizes = [index(size) for size in shape]
        return tirx.decl_buffer(sizes, dtype or self.layer.dtype, name, data_alignment=_ALIGNED)

    def statement(self) -> Any:
        """Start, loop, results."""
        layer = self.layer
        steps = loop(layer.steps, self.step, SERIAL, "step")
        body = [*self.starts(), steps, *self.ends()]
        return with_arrays(list(self.arrays.values()), sequence(body))

    # Before and after the loop.

    def starts(self) -> list[Any]:
        """Fill the arrays."""
        layer = self.layer
        state = self.arrays["state"]
        done = [self.start("initial_state", lambda row, u: (state, [index(0), row, u]))]
        if self.kernel is not None:
            done.append(loop(layer.batch, self.start_integers, SERIAL, "row"))
        if "cell" in self.arrays:
            cell = self.arrays["cell"]
            done.append(self.start("initial_cell", lambda row, u: (cell, [row, u])))
        if "peepholes" in self.arrays:
            done += [self.start_peephole(n) for n in range(3)]
        if "recurrent_bias" in self.arrays:
            bias, own = layer.operands["recurrent_bias"], self.arrays["recurrent_bias"]
            done.append(
                self.filled(lambda u: (own, [u]), lambda u: tirx.BufferLoad(bias, [self.d, u]))
            )
        return done

    def start_integers(self, row: PrimExpr) -> Any:
        """Round the initial state of a row, in the range that it has."""
        states, ranges = self.arrays["state"], self.arrays.get("range")
        done = []
        if ranges is not None:

            def widen(u: PrimExpr) -> Any:
                size = tirx.abs(tirx.BufferLoad(states, [index(0), row, u]))
                wider = tirx.max(tirx.BufferLoad(ranges, [row]), size)
                return tirx.BufferStore(ranges, wider, [row])

            done.append(tirx.BufferStore(ranges, tirx.const(1, self.dtype), [row]))
            done.append(loop(self.layer.units, widen, SERIAL, "unit"))
        done.append(
            vectors(
                self.layer.padded,
                self.layer.lanes,
                lambda u: self.round("state", [index(0), row, u]),
            )
        )
        return sequence(done)

    def round(self, name: str, at: list[Any]) -> Any:
        """Store an element of ``state`` or ``reset_state`` in 8 bits as well.

        The sum with 1.5 * 2^23 has the nearest integer in its low bits.
        """
        assert self.kernel is not None
        value = tirx.BufferLoad(self.arrays[name], at)
        factor: Any = tirx.const(STEPS, self.dtype)
        if "range" in self.arrays:
            factor = factor / tirx.BufferLoad(self.arrays["range"], [at[-2]])
        magic = tirx.const(1.5 * 2**23 + ZERO_POINTS[self.kernel.data], self.dtype)
        rounded = tirx.reinterpret("int32", value * factor + magic)
        return tirx.BufferStore(self.arrays[f"{name}_8"], rounded.astype(self.kernel.data), at)

    def start_peephole(self, number: int) -> Any:
        source, own = self.layer.operands["peepholes"], self.arrays["peepholes"]
        return self.filled(
            lambda u: (own, [index(number), u]),
            lambda u: tirx.BufferLoad(source, [self.d, u + number * self.layer.units]),
        )

    def start(self, operand: str, place: Callable[[Any, Any], tuple[Any, list[Any]]]) -> Any:
        """All rows of an array that begins with ``operand``, or with 0 where it is left out."""
        source = self.layer.operands.get(operand)

        def row(at: PrimExpr) -> Any:
            if source is None:
                return self.filled(lambda u: place(at, u), None)
            return self.filled(
                lambda u: place(at, u), lambda u: tirx.BufferLoad(source, [*self.of_row(at), u])
            )

        return loop(self.layer.batch, row, SERIAL, "row")

    def of_row(self, row: PrimExpr) -> list[Any]:
        """Where a row of the batch lies in an initial or last state."""
        return [row, self.d] if self.cell.batch_first else [self.d, row]

    def filled(
        self,
        place: Callable[[Any], tuple[Any, list[Any]]],
        value: Callable[[Any], Any] | None,
    ) -> Any:
        """Store ``value`` of the layer's units, and 0 in what pads them."""
        layer = self.layer

        def store(u: PrimExpr, number: Any) -> Any:
            buffer, at = place(u)
            return tirx.BufferStore(buffer, number, at)

        given = layer.units if value is not None else 0
        done = [] if value is None else [vectors(given, layer.lanes, lambda u: store(u, value(u)))]
        if layer.padded > given:
            done.append(
                vectors(layer.padded - given, layer.lanes, lambda u: store(u + given, layer.zero))
            )
        return sequence(done)

    def ends(self) -> list[Any]:
        """Copy the last state and cell to the results that are wanted.

        As in ONNX Runtime those of a sequence of no steps are 0, whatever it began with.
        """
        layer = self.layer
        last = index(layer.steps % 2)
        done = []
        for number, name, before in ((1, "state", [last]), (2, "cell", [])):
            if number not in layer.results:
                continue
            result = layer.results[number]

            def row(at: PrimExpr, name: str = name, before: Any = before, to: Any = result) -> Any:
                length = self.length(at)

                def copy(u: PrimExpr) -> Any:
                    value = tirx.BufferLoad(self.arrays[name], [*before, at, u])
                    if length is not None:
                        value = tirx.Select(length > index(0), value, layer.zero)
                    return tirx.BufferStore(to, value, [*self.of_row(at), u])

                return vectors(layer.units, layer.lanes, copy)

            done.append(loop(layer.batch, row, SERIAL, "row"))
        return done

    # A step.

    def step(self, step: PrimExpr) -> Any:
        """All phases of one step.

        Where the weights are larger than the cache every other step takes the blocks from the last
        to the first: those that were read last are still there.
        """
        layer = self.layer
        done = []
        for phase, tile, weight in zip(self.phases, layer.tiles, layer.weights, strict=True):
            full = layer.units // tile.block

            def block(
                at: PrimExpr,
                is_full: bool = True,
                phase: Phase = phase,
                tile: Tile = tile,
                weight: Any = weight,
            ) -> Any:
                return self.rows(Block(self, phase, tile, weight, step, at, is_full))

            def back_and_forth(at: PrimExpr, block: Any = block, last: int = full - 1) -> Any:
                odd = tirx.floormod(step, index(2)) == index(1)
                return block(tirx.Select(odd, index(last) - at, at))

            if full:
                order = block if self.fits_the_cache() else back_and_forth
                done.append(loop(full, order, SERIAL, "block"))
            if full < tile.blocks:
                done.append(block(index(full), is_full=False))
        return sequence(done)

    def fits_the_cache(self) -> bool:
        """Whether the core's own cache holds the weights of a direction."""
        layer = self.layer
        bits = int(tvm.DataType(str(layer.weights[0].dtype)).bits)
        numbers = self.cell.gates * layer.padded * layer.units
        return numbers * bits // 8 <= layer.target.l2_kib * 1024

    def rows(self, block: Block) -> Any:
        """All tiles of rows of a block."""
        rows, batch = block.tile.rows, self.layer.batch
        whole, rest = divmod(batch, rows)
        done = [loop(whole, lambda t: block.rows(t * rows, rows), SERIAL, "rows")]
        if rest:
            done.append(block.rows(index(whole * rows), rest))
        return sequence(done)

    def length(self, row: PrimExpr) -> Any:
        """Steps of the sequence in ``row``; None where that is all."""
        lengths = self.layer.operands.get("lengths")
        if lengths is None:
            return None
        steps = tirx.const(self.layer.steps, "int32")
        given = tirx.BufferLoad(lengths, [row])
        return tirx.max(tirx.min(given, steps), tirx.const(0, "int32")).astype("int64")

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
