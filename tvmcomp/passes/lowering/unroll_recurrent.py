"""Recurrent layers step by step, of operators that TVM schedules itself: what a GPU computes.

Our kernel keeps a layer's loop over time on one core, which a GPU has no counterpart of. So each
step becomes a product with the recurrent weights and the equations of the cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.errors import TargetError
from tvmcomp.passes.rewriter import BindingRewriter, const, const_value, dtype_of, op_name
from tvmcomp.recurrent import RECURRENT, Activation, RecurrentCell, cell_of, operands_of
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax
op = relax.op

#: More steps than this make a network that takes minutes to build.
_MOST_STEPS = 256
_FUNCTIONS = {"relu": op.nn.relu, "sigmoid": op.sigmoid, "tanh": op.tanh}


def unroll_recurrent(mod: Module, target: TargetDescription) -> Module:
    """Write every recurrent layer of ``mod`` step by step.

    Raises:
        TargetError: a layer is too long, or has what only a CPU's kernel computes.
    """
    return _UnrollRecurrent(mod, target).run()


class _UnrollRecurrent(BindingRewriter):
    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target
        #: A layer's variable -> its results.
        self.results: dict[Any, list[Any]] = {}

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if op_name(value) == RECURRENT:
            self.results[var] = self.unrolled(str(var.name), value)
            return var  # Nothing reads it any more.
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self.results:
            return self.results[value.tuple_value][int(value.index)]
        return super().rewrite(var, value)

    def unrolled(self, name: str, call: Expr) -> list[Any]:
        """The results of a layer."""
        cell = cell_of(call)
        operands = {key: self.substitute(arg) for key, arg in operands_of(call).items()}
        weight = const_value(operands["weight"])
        reason = _refusal(cell)
        if weight is None:
            reason = "its weight is computed"
        if reason is not None or weight is None:
            raise TargetError(
                f"the recurrent layer {name} can't be computed on a GPU: {reason}",
                where=self.target.name,
                hint="Build the network for a CPU.",
            )
        directions, gates, units = cell.directions, cell.gates, cell.units
        weights = weight.reshape(directions, gates * units, units)
        outer = (cell.batch, cell.steps) if cell.batch_first else (cell.steps, cell.batch)
        x = self.emit(op.reshape(operands["x"], (*outer, directions, gates * units)), f"{name}_x")
        if cell.batch_first:
            x = self.emit(op.permute_dims(x, [1, 0, 2, 3]), f"{name}_x")
        found = [self.direction(name, cell, d, x, weights[d], operands) for d in range(directions)]
        sequence = self.stacked([each for each, _ in found], 1, name)  # [T, D, B, H]
        order = [2, 0, 1, 3] if cell.batch_first else [0, 2, 1, 3]
        if cell.batch_first or cell.directions_last:
            sequence = self.emit(op.permute_dims(sequence, order), f"{name}_states")
        axis = 1 if cell.batch_first else 0
        last = list(zip(*(states for _, states in found), strict=True))
        return [sequence, *(self.stacked(list(each), axis, name) for each in last)]

    def stacked(self, values: list[Any], axis: int, name: str) -> Any:
        """Tensors along a new axis."""
        wide = [self.emit(op.expand_dims(each, axis), f"{name}_wide") for each in values]
        if len(wide) == 1:
            return wide[0]
        return self.emit(op.concat(wide, axis), f"{name}_stacked")

    def direction(
        self,
        name: str,
        cell: RecurrentCell,
        d: int,
        x: Any,
        weight: np.ndarray,
        operands: dict[str, Any],
    ) -> tuple[Any, list[Any]]:
        """The states of all steps ``[T, B, H]``, and the last state and cell."""
        keys = ("initial_state", "initial_cell")[: 2 if cell.kind == "lstm" else 1]
        states = [self.initial(name, cell, d, operands.get(key), dtype_of(x)) for key in keys]
        bias = operands.get("recurrent_bias")
        if bias is not None:
            bias = self.emit(op.strided_slice(bias, [0], [d], [d + 1]), f"{name}_bias")
        steps: list[Any] = [None] * cell.steps
        order = range(cell.steps)[::-1] if cell.backward[d] else range(cell.steps)
        shape = (cell.batch, cell.gates * cell.units)
        for t in order:
            now = self.emit(op.strided_slice(x, [0, 2], [t, d], [t + 1, d + 1]), f"{name}_x{t}")
            now = self.emit(op.reshape(now, shape), f"{name}_x{t}")
            states = self.step(f"{name}_{t}", cell, d, now, weight, states, bias)
            steps[t] = states[0]
        return self.stacked(steps, 0, name), states

    def initial(self, name: str, cell: RecurrentCell, d: int, given: Any, dtype: str) -> Any:
        shape = (cell.batch, cell.units)
        if given is None:
            return const(np.zeros(shape, dtype))
        axis = 1 if cell.batch_first else 0
        part = self.emit(op.strided_slice(given, [axis], [d], [d + 1]), f"{name}_first")
        return self.emit(op.reshape(part, shape), f"{name}_first")

    def step(
        self,
        name: str,
        cell: RecurrentCell,
        d: int,
        x: Any,
        weight: np.ndarray,
        states: list[Any],
        bias: Any,
    ) -> list[Any]:
        """The state, and an LSTM's cell, after one step."""
        units, functions, state = cell.units, cell.activations[d], states[0]

        def gate(value: Any, number: int) -> Any:
            ends = [number * units], [(number + 1) * units]
            return self.emit(op.strided_slice(value, [1], *ends), f"{name}_gate")

        def product(left: Any, rows: np.ndarray) -> Any:
            right = const(np.ascontiguousarray(rows.T))
            return self.emit(op.matmul(left, right), f"{name}_product")

        def act(value: Any, function: Activation) -> Any:
            return self.emit(_FUNCTIONS[function.name](self.emit(value, name)), name)

        if cell.kind == "rnn":
            return [act(op.add(x, product(state, weight)), functions[0])]
        if cell.kind == "lstm":
            sums = self.emit(op.add(x, product(state, weight)), name)
            into, out, forget, new = (gate(sums, number) for number in range(4))
            kept = op.multiply(act(forget, functions[0]), states[1])
            added = op.multiply(act(into, functions[0]), act(new, functions[1]))
            memory = self.emit(op.add(self.emit(kept, name), self.emit(added, name)), f"{name}_c")
            shown = act(memory, functions[2])
            return [self.emit(op.multiply(act(out, functions[0]), shown), f"{name}_h"), memory]
        both = product(state, weight[: 2 * units])
        update, reset = (
            act(op.add(gate(x, number), gate(both, number)), functions[0]) for number in (0, 1)
        )
        hidden = weight[2 * units :]
        if cell.reset_after:
            moved = product(state, hidden)
            if bias is not None:
                moved = self.emit(op.add(moved, bias), name)
            moved = self.emit(op.multiply(reset, moved), name)
        else:
            moved = product(self.emit(op.multiply(reset, state), name), hidden)
        new = act(op.add(gate(x, 2), moved), functions[1])
        # (1 - z) new + z state
        change = self.emit(op.multiply(update, self.emit(op.subtract(state, new), name)), name)
        return [self.emit(op.add(new, change), f"{name}_h")]


def _refusal(cell: RecurrentCell) -> str | None:
    """Why a layer can't be written step by step; None where it can."""
    if cell.steps > _MOST_STEPS:
        return f"it takes {cell.steps} steps, and at most {_MOST_STEPS} are written out"
    if cell.in_integers:
        return "its state is rounded to 8 bits"
    for name in ("lengths", "peepholes"):
        if name in cell.operands:
            return f"it has {name}"
    if cell.clip or cell.input_forget:
        return "it has a bound of its gates' inputs, or a forget gate that follows the input gate"
    used = {function.name for each in cell.activations for function in each}
    if not used <= set(_FUNCTIONS):
        return f"it has the activations {', '.join(sorted(used - set(_FUNCTIONS)))}"
    return None
