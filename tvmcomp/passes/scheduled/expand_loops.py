"""Loops as functions of Relax's virtual machine, over bodies whose kernels are scheduled.

A step takes all that a loop carries, and gives it. Steps are put together two by two, so that ``n``
trips need ``log2(n)`` functions and as many frames of the stack, where a function that called
itself would need ``n``:

    step_0(s) = the body
    step_k(s) = step_(k-1)(step_(k-1)(s))            of 2^k trips

Where the trips are known and no condition ends them, the steps of the number's binary digits follow
each other. Else every step asks between its two halves whether to go on, and a loop of no bound is
made of steps for 2^31 trips: what it does not run costs one question a step.

Rows are written in place into the tensor of all trips, which nothing else holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.loops import LOOP_BODY, LoopForm, is_loop, loop_bodies, loop_form
from tvmcomp.passes.bodies import in_bodies
from tvmcomp.passes.rewriter import BindingRewriter
from tvmcomp.passes.scheduled.loop_kernels import KERNEL, LoopKernels
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax

#: log2 of the trips that a loop of no bound may run.
_UNBOUNDED = 31
#: The machine checks the types of so many parameters: they come from other functions of ours.
_UNCHECKED = {"num_input": 0}


def expand_loops(mod: Module, target: TargetDescription) -> Any:
    """Replace every loop of ``mod``, whose kernels are scheduled for ``target``, by functions."""
    bodies = loop_bodies(mod)
    if not bodies:
        return mod
    kernels = LoopKernels(target)
    mod = in_bodies(lambda each: _Expand(each, kernels).run())(mod)
    for name in bodies:  # functions of the machine's own now
        func = mod[name].without_attr(LOOP_BODY).without_attr("global_symbol")
        func = func.with_attrs(_UNCHECKED)
        mod.update_func(mod.get_global_var(name), func)
    return mod


class _Expand(BindingRewriter):
    def __init__(self, mod: Module, kernels: LoopKernels) -> None:
        super().__init__(mod)
        self.kernels = kernels

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if not is_loop(value):
            return super().rewrite(var, value)
        form = loop_form(value)
        driver = _Driver(self.builder, form, value, self.kernels).function(f"{form.body}_loop")
        return self.emit(relax.Call(driver, [self.substitute(arg) for arg in value.args]), var.name)


class _Driver:
    """The functions that run one loop."""

    def __init__(self, builder: Any, form: LoopForm, call: Any, kernels: LoopKernels) -> None:
        self.builder, self.form, self.kernels = builder, form, kernels
        self.types = [argument.ty for argument in call.args]
        self.body = builder.get().get_global_var(form.body)
        self.fixed = not form.conditional and form.trips > 0
        states, count = form.states, _scalar("int64")
        self.carried = relax.TupleType(
            [count, _scalar("bool"), *self.types[2 : 2 + states], *call.ty.fields[states:]]
        )
        self.outer = relax.TupleType([self.types[0], *self.types[2 + states :]])
        self.steps = [self._first()]

    def function(self, name: str) -> Any:
        """The function ``(trips, going, states…, outer…) -> (states…, rows…)``."""
        form, block = self.form, _Block(self.builder)
        params = [relax.Var(f"operand_{i}", ty) for i, ty in enumerate(self.types)]
        trips, going, operands = params[0], params[1], params[2:]
        rows = [
            block.call(self.kernels.zeros(ty), [], ty)
            for ty in self.carried.fields[2 + form.states :]
        ]
        zero = relax.const(0, "int64")
        going = block.call(self.kernels.begins(), [going, trips], _scalar("bool"))
        carried = block.emit(relax.Tuple([zero, going, *operands[: form.states], *rows]))
        outer = block.emit(relax.Tuple([trips, *operands[form.states :]]))
        if self.fixed:
            for power in reversed(range(form.trips.bit_length())):
                if form.trips >> power & 1:
                    carried = block.emit(relax.Call(self.step(power), [carried, outer]))
        else:
            power = (form.trips - 1).bit_length() if form.trips else _UNBOUNDED
            carried = block.emit(self._if(going, self.step(power), carried, outer))
        items = block.items(carried)[2:]
        if not self.fixed:  # Whether a state is what it began with depends on data.
            for i in range(form.states):
                ty = self.types[2 + i]
                items[i] = block.call(self.kernels.copy(ty), [items[i]], ty)
        return self._function(name, params, block, relax.Tuple(items))

    def step(self, power: int) -> Any:
        """The function of 2^power trips."""
        while len(self.steps) <= power:
            self.steps.append(self._doubled(self.steps[-1], len(self.steps)))
        return self.steps[power]

    def _first(self) -> Any:
        form, block = self.form, _Block(self.builder)
        carried, outer = relax.Var("carried", self.carried), relax.Var("outer", self.outer)
        items, given = block.items(carried), block.items(outer)
        states, rows = items[2 : 2 + form.states], items[2 + form.states :]
        result = block.emit(relax.Call(self.body, [items[0], *states, *given[1:]]))
        new = block.items(result)
        going = new.pop(0) if form.conditional else items[1]
        for i, row in enumerate(new[form.states :]):
            new[form.states + i] = block.call_inplace(
                self.kernels.write_row(rows[i].ty, row.ty), [row, items[0]], rows[i]
            )
        if self.fixed:
            ty = _scalar("int64")
            head = [block.call(self.kernels.count(), [items[0]], ty), items[1]]
        else:
            pair = block.call(
                self.kernels.advance(going.ty),
                [items[0], going, given[0]],
                [_scalar("int64"), _scalar("bool")],
            )
            head = block.items(pair)
        name = f"{form.body}_step_0"
        return self._function(name, [carried, outer], block, relax.Tuple([*head, *new]))

    def _doubled(self, half: Any, power: int) -> Any:
        block = _Block(self.builder)
        carried, outer = relax.Var("carried", self.carried), relax.Var("outer", self.outer)
        first = block.emit(relax.Call(half, [carried, outer]))
        if self.fixed:
            second = block.emit(relax.Call(half, [first, outer]))
        else:
            going = block.emit(relax.TupleGetItem(first, 1))
            second = block.emit(self._if(going, half, first, outer))
        name = f"{self.form.body}_step_{power}"
        return self._function(name, [carried, outer], block, second)

    def _if(self, going: Expr, step: Any, carried: Expr, outer: Expr) -> Any:
        on = _Block(self.builder)
        stepped = on.emit(relax.Call(step, [carried, outer]))
        return relax.If(going, on.body(stepped), relax.SeqExpr([], carried))

    def _function(self, name: str, params: list[Any], block: _Block, result: Expr) -> Any:
        value = block.emit(result)
        func = relax.Function(params, block.body(value), value.ty).with_attrs(_UNCHECKED)
        return self.builder.add_func(func, name)


class _Block:
    """Bindings of a function that is written outside of the builder's."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.bindings: list[Any] = []

    def emit(self, expr: Expr) -> Any:
        """Bind ``expr`` to a new variable."""
        expr = self.builder.normalize(expr)
        var = relax.Var(f"v{len(self.bindings)}", expr.ty)
        self.bindings.append(relax.VarBinding(var, expr))
        return var

    def items(self, value: Expr) -> list[Any]:
        """Bind the fields of a tuple."""
        return [self.emit(relax.TupleGetItem(value, i)) for i in range(len(value.ty.fields))]

    def call(self, kernel: Any, inputs: Sequence[Any], out: Any) -> Any:
        """Bind a call of a kernel."""
        name = self.builder.add_func(kernel, KERNEL)
        return self.emit(relax.call_tir(name, relax.Tuple(list(inputs)), out))

    def call_inplace(self, kernel: Any, inputs: Sequence[Any], into: Any) -> Any:
        """Bind a call of a kernel whose last parameter, ``into``, it changes and gives."""
        name = self.builder.add_func(kernel, KERNEL)
        given = relax.Tuple([*inputs, into])
        return self.emit(relax.op.call_tir_inplace(name, given, [len(inputs)], into.ty))

    def body(self, result: Expr) -> Any:
        """What was bound, and then ``result``."""
        return relax.SeqExpr([relax.BindingBlock(self.bindings)], result)


def _scalar(dtype: str) -> Any:
    return relax.TensorType((), dtype)
