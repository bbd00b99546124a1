"""What a direction keeps from step to step, its state and cell, before and after the loop.

They have whole vectors of units, the ones beyond the layer's being of no account.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.recurrent.dynamic_range import range_arrays
from tvmcomp.schedules.recurrent.gates import arrays
from tvmcomp.schedules.recurrent.integers import STEPS, ZERO_POINTS
from tvmcomp.schedules.recurrent.layer import Layer
from tvmcomp.schedules.recurrent.phase import Phase
from tvmcomp.schedules.rows.loop_nest import SERIAL, index, loop, sequence, vectors
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

#: More than the usual 64: the array is taken from the workspace, which aligns it.
_ALIGNED = 128


class StateArrays:
    """The arrays of one direction, and the statements that fill them and give what they hold."""

    def __init__(self, layer: Layer, d: PrimExpr, steps: Sequence[Phase]) -> None:
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
            "state": self.array([2, layer.batch, layer.padded], "state", layer.state_dtype),
            **{
                name: self.array([layer.batch, layer.padded], name, layer.cell_dtype)
                for name in arrays(layer.cell)
            },
        }
        largest = max(
            layer.batch * len(phase.slots) * tile.block
            for phase, tile in zip(steps, layer.tiles, strict=True)
        )
        #: Where the sums of a block begin, by its number: threads have blocks of their own.
        self.sums_of_block = largest if layer.is_spread else 0
        count = max(tile.blocks for tile in layer.tiles) if layer.is_spread else 1
        self.arrays["sums"] = self.array([count * largest], "sums")
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
        if layer.cell.dynamic_range:
            found |= range_arrays(layer.batch, layer.lanes, self.dtype)
        elif "initial_state" in layer.operands:
            found["range"] = self.array([layer.batch], "range")
        return found

    def array(self, shape: list[int], name: str, dtype: str | None = None) -> Any:
        """A new array; of the layer's type unless another is given."""
        sizes = [index(size) for size in shape]
        return tirx.decl_buffer(sizes, dtype or self.layer.dtype, name, data_alignment=_ALIGNED)

    def starts(self) -> list[Any]:
        """Fill the arrays."""
        layer = self.layer
        state = self.arrays["state"]
        done = [self.start("initial_state", lambda row, u: (state, [index(0), row, u]))]
        if self.kernel is not None and not self.cell.dynamic_range:
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
        if self.cell.fixed_point is not None:
            offset = tirx.const(ZERO_POINTS[self.kernel.data], "int32")
            moved = (value.astype("int32") + offset).astype(self.kernel.data)
            return tirx.BufferStore(self.arrays[f"{name}_8"], moved, at)
        factor: Any = tirx.const(STEPS, self.dtype)
        if "range" in self.arrays:
            factor = factor / tirx.BufferLoad(self.arrays["range"], [at[-2]])
        magic = tirx.const(1.5 * 2**23 + ZERO_POINTS[self.kernel.data], self.dtype)
        rounded = tirx.reinterpret("int32", value * factor + magic)
        return tirx.BufferStore(self.arrays[f"{name}_8"], rounded.astype(self.kernel.data), at)

    def start_peephole(self, number: int) -> Any:
        """Fill the weights of one gate to the cell."""
        source, own = self.layer.operands["peepholes"], self.arrays["peepholes"]
        return self.filled(
            lambda u: (own, [index(number), u]),
            lambda u: tirx.BufferLoad(source, [self.d, u + number * self.layer.units]),
        )

    def start(self, operand: str, place: Callable[[Any, Any], tuple[Any, list[Any]]]) -> Any:
        """All rows of an array that begins with ``operand``, or with 0 where it is left out."""
        source = self.layer.operands.get(operand)
        numbers = self.cell.fixed_point
        zero = None
        if numbers is not None and operand == "initial_state":
            zero = tirx.const(numbers.state_zero_point, "int32")

        def row(at: PrimExpr) -> Any:
            if source is None:
                return self.filled(lambda u: place(at, u), None, zero)
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
        without: Any = None,
    ) -> Any:
        """Store ``value`` of the layer's units, and ``without`` in what pads them."""
        layer = self.layer
        without = layer.zero if without is None else without

        def store(u: PrimExpr, number: Any) -> Any:
            buffer, at = place(u)
            return tirx.BufferStore(buffer, number.astype(str(buffer.dtype)), at)

        given = layer.units if value is not None else 0
        done = [] if value is None else [vectors(given, layer.lanes, lambda u: store(u, value(u)))]
        if layer.padded > given:
            rest = layer.padded - given
            done.append(vectors(rest, layer.lanes, lambda u: store(u + given, without)))
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

    def length(self, row: PrimExpr) -> Any:
        """Steps of the sequence in ``row``; None where that is all."""
        lengths = self.layer.operands.get("lengths")
        if lengths is None:
            return None
        steps = tirx.const(self.layer.steps, "int32")
        given = tirx.BufferLoad(lengths, [row])
        return tirx.max(tirx.min(given, steps), tirx.const(0, "int32")).astype("int64")
