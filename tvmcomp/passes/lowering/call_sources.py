"""Which operators each call of a kernel computes.

Equal kernels become one function, which has the names of one of its callers, and fusion renames
results. So the network is walked as it is after fusion and as it was before at the same time: a
call of a kernel is the one before that calls the same kernel with the same operands.

    before fusion    c1 = call(conv, x)   r1 = call(relu, c1)   c2 = call(conv, r1)   …
    after            lv = fused(x)   lv1 = fused(lv)   fused(p) { call(conv, p), call(relu, …) }
    gives            fused: [{c1, r1}, {c2, r2}]
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from tvmcomp.loops import LOOP_BODY
from tvmcomp.passes.rewriter import CALLS, op_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Expr, Module, Var

relax = tvm.relax

#: Kernel -> for each call in program order, the names that its results had before fusion.
CallSources = dict[str, list[frozenset[str]]]


def call_sources(before: Module, fused: Module) -> CallSources:
    """The names of what each call computes, those of ``main`` first, then those of loops' bodies.

    Args:
        before: Relax over kernels, before FuseOps.
        fused: the same after it.
    """
    found: CallSources = defaultdict(list)
    for name in _functions(fused):
        walk = _Walk(before[name], fused)
        for kernel, names in walk.calls(fused[name]):
            found[kernel].append(frozenset(names))
    return dict(found)


def in_order_of(calls: CallSources, mod: Module, tasks: dict[str, str]) -> CallSources:
    """``calls`` by the kernels that ``mod`` has of them, in the order of its calls.

    Args:
        calls: by task.
        mod: Relax over scheduled kernels; what it no longer calls is left out.
        tasks: kernel of ``mod`` -> task.
    """
    left = {task: deque(names) for task, names in calls.items()}
    found: CallSources = defaultdict(list)
    for name in _functions(mod):
        for binding in _bindings(mod[name]):
            if op_name(binding.value) in CALLS:
                kernel = str(binding.value.args[0].name_hint)
                names = left.get(tasks.get(kernel, kernel))
                found[kernel].append(names.popleft() if names else frozenset())
    return dict(found)


class _Walk:
    """One function, before and after fusion."""

    def __init__(self, before: Any, fused: Module) -> None:
        self.fused = fused
        #: Kernel and operands -> the results of its calls, in order.
        self.results: dict[tuple[Any, ...], deque[Var]] = defaultdict(deque)
        #: Variable after fusion -> before it; a tuple of them for what gives several.
        self.origin: dict[Var, Any] = {}
        for binding in _bindings(before):
            self.results[self.key(binding.value)].append(binding.var)
        self.params = list(before.params)

    def calls(self, func: Any) -> Iterator[tuple[str, set[str]]]:
        """Each call of a kernel: its name, and what its results were called."""
        self.origin.update(zip(func.params, self.params, strict=True))
        for binding in _bindings(func):
            value = binding.value
            callee = getattr(value, "op", None)
            if isinstance(callee, tvm.ir.GlobalVar):
                yield str(callee.name_hint), self.within(binding, self.fused[callee])
            else:
                names: set[str] = set()
                self.follow(binding, names)
                if op_name(value) in CALLS:
                    yield str(value.args[0].name_hint), names

    def within(self, call: Binding, func: Any) -> set[str]:
        """The same of one fused function that is called."""
        names: set[str] = set()
        for param, argument in zip(func.params, call.value.args, strict=True):
            self.origin[param] = self.origin_of(argument)
        for binding in _bindings(func):
            self.follow(binding, names)
        self.origin[call.var] = self.origin_of(func.body.body)
        return names

    def follow(self, binding: Binding, names: set[str]) -> None:
        """Find what a result was before, and put its name into ``names``."""
        found = self.results.get(self.key(binding.value))
        if found:
            self.origin[binding.var] = found.popleft()
            names.add(str(self.origin[binding.var].name))
        elif isinstance(binding.value, relax.Var | relax.Tuple | relax.TupleGetItem):
            self.origin[binding.var] = self.origin_of(binding.value)

    def key(self, value: Expr) -> tuple[Any, ...]:
        """What a call is known by: kernel or operator, and the variables that it reads."""
        if isinstance(value, relax.TupleGetItem):
            return "item", self.origin_of(value.tuple_value), value.index
        read = tuple(self.origin_of(var) for var in relax.analysis.free_vars(value))
        kernel = str(value.args[0].name_hint) if op_name(value) in CALLS else op_name(value)
        return kernel, read

    def origin_of(self, value: Expr) -> Any:
        if isinstance(value, relax.Tuple):
            return tuple(self.origin_of(field) for field in value.fields)
        if isinstance(value, relax.TupleGetItem):
            whole = self.origin_of(value.tuple_value)
            return whole[value.index] if isinstance(whole, tuple) else None
        return self.origin.get(value, value)


def _functions(mod: Module) -> list[str]:
    """``main``, and the bodies of loops."""
    bodies = [
        str(var.name_hint)
        for var, func in mod.functions.items()
        if isinstance(func, relax.Function) and func.attrs and LOOP_BODY in func.attrs.keys()  # noqa: SIM118
    ]
    return ["main", *sorted(bodies)]


def _bindings(func: Any) -> list[Any]:
    return [binding for block in func.body.blocks for binding in block.bindings]
