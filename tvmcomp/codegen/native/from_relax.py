"""Lowered Relax -> :class:`~.plan.Plan`: every binding of ``main`` and of its loops' bodies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tvmcomp.codegen.native.plan import Call, Loop, Place, Plan, Step, Tensor, moved
from tvmcomp.errors import ModelError
from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.loops import is_loop, loop_form
from tvmcomp.passes.rewriter import const_value, op_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module

relax = tvm.relax
#: What a variable of Relax stands for.
Value: TypeAlias = "Tensor | tuple[Value, ...]"


def only_calls(mod: Module, target: Any) -> Module:
    """A lowered module in the form that :func:`plan_of` takes.

    Args:
        mod: scheduled kernels, under functions that call them.
        target: TVM's, of the code.
    """
    passes = [
        relax.backend.DispatchSortScan(),  # kernels that call by name, for TopK
        relax.transform.LegalizeOps(),
        relax.transform.RewriteDataflowReshape(),  # reshapes are views
    ]
    with target:
        return tvm.transform.Sequential(passes)(mod)


def plan_of(mod: Module, inputs: int) -> Plan:
    """The plan of a module of scheduled kernels.

    Args:
        mod: its ``main`` takes the inputs, then the constants; loops are operators in it.
        inputs: how many inputs there are.

    Raises:
        ModelError: it does something that no driver can; the message names it.
    """
    return _Walk(mod).plan(inputs)


class _Walk:
    def __init__(self, mod: Module) -> None:
        self.mod = mod
        self.kernels: dict[str, int] = {}
        self.scalars: list[np.ndarray] = []
        self.buffers: list[int] = []
        self.carried: list[tuple[int, bool]] = []
        self.loops = 0

    def plan(self, inputs: int) -> Plan:
        params = self.mod["main"].params
        given = [_tensor(p.ty, Place("input", i)) for i, p in enumerate(params[:inputs])]
        constants = [_tensor(p.ty, Place("constant", i)) for i, p in enumerate(params[inputs:])]
        steps: list[Step] = []
        result = self.function("main", [*given, *constants], steps)
        return Plan(
            kernels=tuple(self.kernels),
            inputs=tuple(given),
            constants=tuple(constants),
            scalars=tuple(self.scalars),
            buffers=tuple(self.buffers),
            carried=tuple(self.carried),
            loops=self.loops,
            steps=tuple(steps),
            outputs=_flat(result),
        )

    def function(self, name: str, arguments: Sequence[Value], steps: list[Step]) -> Value:
        """Add the steps of a function, and say where its result is."""
        func = self.mod[name]
        known: dict[Any, Value] = dict(zip(func.params, arguments, strict=True))
        for block in func.body.blocks:
            for binding in block.bindings:
                value = getattr(binding, "value", None)
                known[binding.var] = self.binding(value, known, steps)
        return self.value(func.body.body, known)

    def binding(self, expr: Expr, known: dict[Any, Value], steps: list[Step]) -> Value:
        name = op_name(expr)
        if is_loop(expr):
            return self.loop(expr, [_one(self.value(arg, known)) for arg in expr.args], steps)
        if name == "call_tir":
            return self.call(expr, known, steps)
        if name == "call_tir_inplace":
            return self.call_in_place(expr, known, steps)
        if name == "reshape":
            return _tensor(expr.ty, _one(self.value(expr.args[0], known)).place)
        return self.value(expr, known)

    def call(self, expr: Expr, known: dict[Any, Value], steps: list[Step]) -> Value:
        kernel = str(expr.args[0].name_hint)
        inputs = _flat(self.value(expr.args[1], known))
        many = isinstance(expr.ty, relax.TupleType)
        outputs = tuple(map(self.buffer, expr.ty.fields if many else [expr.ty]))
        if len(self.mod[kernel].params) != len(inputs) + len(outputs):
            raise ModelError(f"the kernel {kernel} takes other arguments than tensors")
        steps.append(Call(self.kernels.setdefault(kernel, len(self.kernels)), inputs, outputs))
        return outputs if many else outputs[0]

    def call_in_place(self, expr: Expr, known: dict[Any, Value], steps: list[Step]) -> Value:
        """A call whose last operand is its result, too: other kernels wrote other parts of it."""
        kernel = str(expr.args[0].name_hint)
        *inputs, whole = _flat(self.value(expr.args[1], known))
        assert whole.place.kind == "buffer", f"{kernel} would write what is not the network's own"
        steps.append(
            Call(self.kernels.setdefault(kernel, len(self.kernels)), tuple(inputs), (whole,))
        )
        return whole

    def value(self, expr: Expr, known: dict[Any, Value]) -> Value:
        """What an expression that computes nothing stands for."""
        if isinstance(expr, relax.Var):
            return known[expr]
        if isinstance(expr, relax.Tuple):
            return tuple(self.value(field, known) for field in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            items = self.value(expr.tuple_value, known)
            assert isinstance(items, tuple)
            return items[int(expr.index)]
        scalar = const_value(expr)
        if scalar is not None:
            self.scalars.append(scalar)
            return _tensor(expr.ty, Place("scalar", len(self.scalars) - 1))
        what = op_name(expr) or type(expr).__name__
        raise ModelError(f"the compiled network would need `{what}`, which no kernel computes")

    def buffer(self, ty: Any) -> Tensor:
        """A new tensor in the workspace."""
        tensor = _tensor(ty, Place("buffer", len(self.buffers)))
        self.buffers.append(tensor.nbytes)
        return tensor

    def loop(self, expr: Expr, operands: list[Tensor], steps: list[Step]) -> Value:
        form, number = loop_form(expr), self.loops
        self.loops += 1
        types = list(expr.ty.fields)
        trips, going, starts, outer = (
            operands[0],
            operands[1],
            operands[2 : 2 + form.states],
            operands[2 + form.states :],
        )
        carried = []
        for ty in types[: form.states]:
            carried.append(_tensor(ty, Place("carried", len(self.carried))))
            self.carried.append((carried[-1].nbytes, False))
        rows = [self.buffer(ty) for ty in types[form.states :]]
        trip = Tensor(Place("trip", number), (), "int64", 8)
        first, body = len(self.buffers), list[Step]()
        results = list(_flat(self.function(form.body, [trip, *carried, *outer], body)))
        condition = results.pop(0) if form.conditional else None
        states, row = results[: form.states], results[form.states :]
        places = self._written_for_next(carried, states, first)
        homes = [tensor.place for tensor in carried]
        steps.append(
            Loop(
                number=number,
                trips=trips,
                going=going,
                most=form.trips,
                starts=tuple(starts),
                carried=tuple(carried),
                body=moved(body, places),
                states=tuple(t.at(places.get(t.place, t.place)) for t in states),
                condition=condition and condition.at(places.get(condition.place, condition.place)),
                rows=tuple(
                    (each.at(places.get(each.place, each.place)), all_of_it)
                    for each, all_of_it in zip(row, rows, strict=True)
                ),
                spare={
                    i: self._spare(state)
                    for i, state in enumerate(states)
                    if state.place in homes and state.place != homes[i]
                },
            )
        )
        return (*carried, *rows)

    def _written_for_next(
        self, carried: list[Tensor], states: list[Tensor], first: int
    ) -> dict[Place, Place]:
        """The buffers of a body, those from ``first`` on, that can be the states' other places."""
        places: dict[Place, Place] = {}
        for home, state in zip(carried, states, strict=True):
            buffer = state.place
            own = buffer.kind == "buffer" and buffer.index >= first and buffer not in places
            if own and self.buffers[buffer.index] == home.nbytes:
                places[buffer] = Place("next", home.place.index)
                self.carried[home.place.index] = (home.nbytes, True)
        return places

    def _spare(self, state: Tensor) -> Tensor:
        self.buffers.append(state.nbytes)
        return state.at(Place("buffer", len(self.buffers) - 1))


def _tensor(ty: Any, place: Place) -> Tensor:
    shape, dtype = tuple(int(size) for size in ty.shape), str(ty.dtype)
    bits = tvm_ffi.dtype(dtype).bits
    return Tensor(place, shape, dtype, -(-math.prod(shape) * bits // 8))


def _flat(value: Value) -> tuple[Tensor, ...]:
    if isinstance(value, Tensor):
        return (value,)
    return tuple(tensor for each in value for tensor in _flat(each))


def _one(value: Value) -> Tensor:
    assert isinstance(value, Tensor)
    return value
