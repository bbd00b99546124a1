"""Passes over ``main`` see every loop's body too: each is ``main`` for as long as a pass runs.

in_bodies(pass)(mod)  =  pass on mod with body 1 as main, … with body n as main, and on mod
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tvmcomp.loops import loop_bodies, loop_form, loops_of
from tvmcomp.passes.rewriter import CALLS, op_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

_update_type = tvm.relax.expr._update_type

#: What ``main`` is called meanwhile.
_HELD = "main_held"


def in_bodies(apply: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A pass over ``main`` as a pass over the bodies of all loops, and ``main``."""

    def everywhere(mod: Module) -> Any:
        for name in loop_bodies(mod):
            mod = body_of(apply(as_main(mod, name)), name)
        return apply(mod)

    return everywhere


def as_main(mod: Module, body: str) -> Any:
    """``mod`` with the function ``body`` as its ``main``; :func:`body_of` undoes it."""
    return _renamed(mod, {"main": _HELD, body: "main"})


def body_of(mod: Module, body: str) -> Any:
    """``mod`` with its ``main`` as the function ``body`` again."""
    return _renamed(mod, {"main": body, _HELD: "main"})


def views(mod: Module) -> Iterator[Any]:
    """``mod``, and then ``mod`` with each body as its ``main``."""
    yield mod
    for name in loop_bodies(mod):
        yield as_main(mod, name)


def called_kernels(mod: Module) -> set[str]:
    """The names of the kernels that ``main`` or a body calls."""
    functions = [func for func in mod.functions.values() if isinstance(func, tvm.relax.Function)]
    bindings = (each for f in functions for block in f.body.blocks for each in block.bindings)
    return {
        str(binding.value.args[0].name_hint)
        for binding in bindings
        if op_name(binding.value) in CALLS
    }


def trips_of_bodies(mod: Module) -> dict[str, int]:
    """How often an inference runs each body: once where the trips are not known before."""
    trips: dict[str, int] = {}

    def visit(func: Any, times: int) -> None:
        for call in loops_of(func):
            form = loop_form(call)
            trips[form.body] = trips.get(form.body, 0) + times * max(form.trips, 1)
            visit(mod[form.body], times * max(form.trips, 1))

    if loop_bodies(mod):
        visit(mod["main"], 1)
    return trips


def _renamed(mod: Module, names: dict[str, str]) -> Any:
    """Rename functions that nothing calls by their variable."""
    functions = {}
    for var, func in mod.functions.items():
        new = names.get(str(var.name_hint))
        if new is not None:
            var, func = tvm.ir.GlobalVar(new), func.with_attr("global_symbol", new)
            _update_type(var, func.ty)
        functions[var] = func
    return tvm.IRModule(functions, attrs=mod.attrs, global_infos=mod.global_infos)
