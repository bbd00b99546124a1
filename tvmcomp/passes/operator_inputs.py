"""Which operators read which, whatever stands between them: the network as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.passes.bodies import views
from tvmcomp.passes.rewriter import main_bindings
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, Var

relax = tvm.relax


def operator_inputs(mod: Module, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Operator -> the positions in ``names`` of those whose results it reads.

    -1 - i is the network's input i. Bindings with other names (quantize, dequantize, parts of a
    tuple) are looked through. What gives an output loses its name to Relax's own: the outputs
    without an operator's name are those of the operators that are missing, in order.

    Args:
        mod: Relax whose bindings have the operators' names; loops' bodies count as well.
        names: of the operators.
    """
    positions = {name: index for index, name in enumerate(names)}
    found: dict[str, tuple[int, ...]] = {}
    unnamed: list[tuple[int, ...]] = []
    for number, view in enumerate(views(mod)):
        main = view["main"]
        params = main.params if number == 0 else ()
        sources: dict[Var, tuple[int, ...]] = {each: (-1 - i,) for i, each in enumerate(params)}
        for binding in main_bindings(view) or []:
            read = _sources(binding.value, sources)
            name = str(binding.var.name)
            if name in positions:
                found.setdefault(name, read)
                read = (positions[name],)
            sources[binding.var] = read
        if number == 0:
            outputs = relax.analysis.free_vars(main.body.body)
            unnamed = [sources.get(var, ()) for var in outputs if str(var.name) not in positions]
    missing = (name for name in names if name not in found)
    return {**found, **dict(zip(missing, unnamed, strict=False))}


def _sources(value: Any, sources: dict[Var, tuple[int, ...]]) -> tuple[int, ...]:
    """Where what an expression reads comes from, each once, in the order of its operands."""
    read = (sources.get(var, ()) for var in relax.analysis.free_vars(value))
    return tuple(dict.fromkeys(position for each in read for position in each))
