"""A recurrent layer on a GPU: one block for each direction and sequence, with the loop over time.

    state, cell = the initial ones                      in shared memory
    for each step
        for each phase
            sums = state x weights                      a thread has some units of some gates
            new state, new cell = the cell's equations  a thread has some units

Between the lines the block's threads wait for each other. The weights are read from memory in every
step, neighbouring units by neighbouring threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.recurrent import RecurrentCell
from tvmcomp.schedules.cuda.instructions import synchronize
from tvmcomp.schedules.cuda.kernel import (
    WARP,
    array,
    launch,
    number,
    repeat,
    rolled,
    share,
    when,
    with_arrays,
)
from tvmcomp.schedules.recurrent.gates import arrays, phases
from tvmcomp.schedules.recurrent.integers import STEPS
from tvmcomp.schedules.recurrent.phase import Phase
from tvmcomp.schedules.rows.loop_nest import sequence
from tvmcomp.schedules.tir.vector_math import BOUNDED_EXP, TANH_OVER, TANH_UNDER
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr, Tensor

te, tirx = tvm.te, tvm.tirx

_MOST_THREADS = 512
#: Bytes of shared memory that every GPU gives a block without asking.
_SHARED = 48 << 10
#: Where e^x is bounded, so that products of three such stay finite.
_BOUND = 40.0


def recurrent_refusal(cell: RecurrentCell) -> str | None:
    """Why there is no kernel for ``cell``; None where there is."""
    if cell.fixed_point is not None or cell.dynamic_range:
        return "its state is rounded in integers alone, or by the range that it has in each step"
    numbers = cell.units * (cell.gates + 1 + len(arrays(cell)))
    return f"{cell.units} units are too many for a block" if 4 * numbers > _SHARED else None


def packed(cell: RecurrentCell, weight: np.ndarray) -> list[np.ndarray]:
    """``weight [D G H, H]`` as each phase reads it: ``[D, H, its gates x H]``."""
    whole = weight.reshape(cell.directions, cell.gates, cell.units, cell.units)
    parts = (whole[:, list(phase.gates)] for phase in phases(cell, cell.activations[0]))
    shape = (cell.directions, cell.units, -1)
    return [np.ascontiguousarray(each.transpose(0, 3, 1, 2)).reshape(shape) for each in parts]


def recurrent_kernel(
    cell: RecurrentCell,
    x: Tensor,
    weights: Sequence[Tensor],
    operands: Mapping[str, Tensor],
    wanted: Sequence[int],
) -> list[Tensor]:
    """The layer as TE tensors.

    Args:
        cell: what it computes.
        x: as of :func:`tvmcomp.recurrent.recurrent`.
        weights: of each phase, as :func:`packed` gives them.
        operands: those of ``cell.operands``, by name.
        wanted: numbers of the results that are read.

    Returns:
        The results of ``wanted``.
    """
    names, count = list(operands), len(weights)

    def body(inputs: Any, outputs: Any) -> Any:
        given = dict(zip(names, inputs[1 + count :], strict=True))
        results = dict(zip(wanted, outputs, strict=True))
        kernel = _Kernel(cell, inputs[0], inputs[1 : 1 + count], given, results)
        return sequence(kernel.launches())

    shapes = [cell.result_shapes[each] for each in wanted]
    inputs = [x, *weights, *operands.values()]
    made = te.extern(
        shapes,
        inputs,
        body,
        name=cell.kind,
        dtype=[str(x.dtype)] * len(shapes),
        # Whole arrays: those that TE declares by itself begin somewhere.
        in_buffers=[tirx.decl_buffer(t.shape, t.dtype, t.op.name) for t in inputs],
        out_buffers=[
            tirx.decl_buffer(shape, str(x.dtype), f"result_{number}")
            for number, shape in zip(wanted, shapes, strict=True)
        ],
    )
    return list(made) if len(wanted) > 1 else [made]


@dataclass
class _Kernel:
    cell: RecurrentCell
    x: Buffer
    weights: Sequence[Buffer]
    operands: Mapping[str, Buffer]
    results: Mapping[int, Buffer]

    def launches(self) -> list[Any]:
        """One; one for each direction where their activations differ."""
        cell = self.cell
        most = max(len(phase.gates) for phase in phases(cell, cell.activations[0])) * cell.units
        self.threads = min(_MOST_THREADS, -(-most // WARP) * WARP)
        if len(set(cell.activations)) == 1:
            return [self.launched(0, [cell.directions, cell.batch])]
        return [self.launched(d, [1, cell.batch]) for d in range(cell.directions)]

    def launched(self, first: int, grid: list[int]) -> Any:
        """The launch of ``grid``: directions from ``first`` on, and sequences."""

        def body(at: list[Any], thread: PrimExpr) -> Any:
            return self.block(first, at[0] + number(first), at[1], thread)

        return launch(grid, self.threads, body)

    def block(self, like: int, d: PrimExpr, row: PrimExpr, thread: PrimExpr) -> Any:
        """The direction ``d``, with the activations of the direction ``like``, of one sequence."""
        cell, dtype = self.cell, str(self.x.dtype)
        self.d, self.row, self.thread = d, row, thread
        self.length = None
        if "lengths" in self.operands:
            self.length = tirx.BufferLoad(self.operands["lengths"], [row]).astype("int32")
        own = phases(cell, cell.activations[like])
        names = ["state", *arrays(cell)]
        self.arrays = {name: array(cell.units, dtype, name, "shared") for name in names}
        most = max(len(phase.gates) for phase in own) * cell.units
        self.sums = array(most, dtype, "sums", "shared")
        self.total = array(1, "int32" if cell.in_integers else dtype, "total")
        statements = [
            self.of_units(self.start),
            synchronize(),
            rolled(cell.steps, lambda step: self.step(own, step)),
            self.of_units(self.end),
        ]
        return with_arrays([*self.arrays.values(), self.sums, self.total], statements)

    def of_units(self, body: Any) -> Any:
        """``body`` for each unit, by the block's threads."""
        return share(self.cell.units, self.threads, self.thread, body)

    def start(self, unit: PrimExpr) -> Any:
        """A unit's first values."""
        done = []
        for name, operand in (("state", "initial_state"), ("cell", "initial_cell")):
            if name in self.arrays:
                given = self.operands.get(operand)
                value: Any = tirx.const(0, str(self.x.dtype))
                if given is not None:
                    value = tirx.BufferLoad(given, self.state_at(unit))
                done.append(tirx.BufferStore(self.arrays[name], value, [unit]))
        return sequence(done)

    def end(self, unit: PrimExpr) -> Any:
        """A unit's last values; they are its own thread's."""
        done: list[Any] = [tirx.Evaluate(number(0))]
        for result, name in ((1, "state"), (2, "cell")):
            if result in self.results:
                value = tirx.BufferLoad(self.arrays[name], [unit])
                done.append(tirx.BufferStore(self.results[result], value, self.state_at(unit)))
        return sequence(done)

    def state_at(self, unit: PrimExpr) -> list[Any]:
        """Where a unit is in a first or last state."""
        return [self.row, self.d, unit] if self.cell.batch_first else [self.d, self.row, unit]

    def step(self, own: Sequence[Phase], step: PrimExpr) -> Any:
        """The phases of a step."""
        done = []
        time = self.time(step)
        for phase, weight in zip(own, self.weights, strict=True):
            items = len(phase.gates) * self.cell.units

            def product(item: PrimExpr, phase: Phase = phase, weight: Buffer = weight) -> Any:
                return self.product(phase, weight, item)

            def results(unit: PrimExpr, phase: Phase = phase) -> Any:
                return self.equations(phase, step, time, unit)

            done += [
                share(items, self.threads, self.thread, product),
                synchronize(),
                self.of_units(results),
                synchronize(),
            ]
        return sequence(done)

    def product(self, phase: Phase, weight: Buffer, item: PrimExpr) -> Any:
        """The sum of one unit of one gate."""
        state, total, units = self.arrays[phase.source], self.total, self.cell.units
        dtype, kind = str(state.dtype), str(total.dtype)
        so_far = tirx.BufferLoad(total, [number(0)])

        def add(k: PrimExpr) -> Any:
            value = tirx.BufferLoad(state, [k])
            if self.cell.in_integers:
                value = tirx.nearbyint(value * tirx.const(STEPS, dtype)).astype(kind)
            factor = tirx.BufferLoad(weight, [self.d, k, item]).astype(kind)
            return tirx.BufferStore(total, so_far + factor * value, [number(0)])

        value: Any = so_far
        if self.cell.in_integers:
            gate = sum(
                (
                    tirx.Select(tirx.floordiv(item, units) == number(slot), number(gate), number(0))
                    for slot, gate in enumerate(phase.gates)
                ),
                number(0),
            )
            at = (self.d * self.cell.gates + gate) * units + tirx.floormod(item, units)
            scale = tirx.BufferLoad(self.operands["weight_scale"], [at])
            value = so_far.astype(dtype) * (scale * tirx.const(1 / STEPS, dtype))
        return sequence(
            [
                tirx.BufferStore(total, tirx.const(0, kind), [number(0)]),
                repeat(units, add),
                tirx.BufferStore(self.sums, value, [item]),
            ]
        )

    def equations(self, phase: Phase, step: PrimExpr, time: PrimExpr, unit: PrimExpr) -> Any:
        """What becomes of the sums of a unit, and its place in the sequence."""
        at = _Unit(self, phase, time, unit)
        done: list[Any] = []
        for name, equation in phase.results:
            value = _plain(equation(at))
            stored = tirx.BufferStore(self.arrays[name], value, [unit])
            kept = name in ("state", "cell") and self.length is not None
            done.append(when([step < self.length] if kept else [], stored))
        if phase.results[-1][0] == "state" and 0 in self.results:
            value = tirx.BufferLoad(self.arrays["state"], [unit])
            if self.length is not None:
                zero = tirx.const(0, str(self.x.dtype))
                value = tirx.Select(step < self.length, value, zero)
            to = [time, self.d, self.row, unit]
            if self.cell.batch_first:
                to = [self.row, time, self.d, unit]
            elif self.cell.directions_last:
                to = [time, self.row, self.d, unit]
            done.append(tirx.BufferStore(self.results[0], value, to))
        return sequence(done)

    def time(self, step: PrimExpr) -> Any:
        """The index in time of a ``step``; beyond the end of a sequence, the step itself."""
        backward = self.cell.backward
        if not any(backward):
            return step
        mirrored: Any = number(self.cell.steps - 1) - step
        if self.length is not None:
            mirrored = tirx.Select(step < self.length, self.length - number(1) - step, step)
        if all(backward):
            return mirrored
        return tirx.Select(self.d == number(backward.index(True)), mirrored, step)


@dataclass(frozen=True)
class _Unit:
    """See :class:`~tvmcomp.schedules.recurrent.phase.Element`."""

    kernel: _Kernel
    phase: Phase
    time: Any
    unit: Any

    def start(self, slot: int) -> Any:
        kernel, cell, gate = self.kernel, self.kernel.cell, self.phase.slots[slot]
        if gate is None:
            bias = kernel.operands.get("recurrent_bias")
            value: Any = tirx.const(0, str(kernel.x.dtype))
            if bias is not None:
                value = tirx.BufferLoad(bias, [kernel.d, self.unit])
        else:
            line = self.time * cell.batch + kernel.row
            if cell.batch_first:
                line = kernel.row * cell.steps + self.time
            column = (kernel.d * cell.gates + gate) * cell.units + self.unit
            value = tirx.BufferLoad(kernel.x, [line, column])
        if slot >= len(self.phase.gates):
            return value
        return value + tirx.BufferLoad(kernel.sums, [self.unit + slot * cell.units])

    def load(self, name: str) -> Any:
        return tirx.BufferLoad(self.kernel.arrays[name], [self.unit])

    def peephole(self, number: int) -> Any:
        at = self.unit + number * self.kernel.cell.units
        return tirx.BufferLoad(self.kernel.operands["peepholes"], [self.kernel.d, at])


def _plain(value: PrimExpr) -> Any:
    """``value`` in CUDA's functions, where a CPU has its own."""

    def see(call: Any) -> Any:
        name = str(call.op.name) if isinstance(call.op, tvm.ir.Op) else ""
        if name == BOUNDED_EXP:
            bound = tirx.const(_BOUND, "float32")
            return tirx.exp(tirx.max(tirx.min(call.args[0], bound), -bound))
        if name == TANH_OVER:
            return tirx.tanh(call.args[0])
        return tirx.const(1.0, "float32") if name == TANH_UNDER else call

    return tvm_ffi.structural_map(value, ((tvm.ir.Call, see),))
