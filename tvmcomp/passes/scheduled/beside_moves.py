"""Which kernels give to, or take from, one that merely moves: their tensors may come to lie within
others, and no longer follow each other in memory without a gap."""

from __future__ import annotations

from typing import Any

from tvmcomp.passes.call_counts import is_move
from tvmcomp.passes.rewriter import CALLS, op_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

relax = tvm.relax


def beside_moves(mod: Module) -> set[str]:
    """The names of the PrimFuncs of ``mod`` that some call has before or behind a move."""
    found: set[str] = set()
    #: Variable -> the PrimFunc that computes it; and what moves compute.
    kernels: dict[Any, str] = {}
    moved: set[Any] = set()
    functions = [func for func in mod.functions.values() if isinstance(func, relax.Function)]
    for binding in (each for f in functions for block in f.body.blocks for each in block.bindings):
        if op_name(binding.value) not in CALLS:
            continue
        read = relax.analysis.free_vars(binding.value)
        name = kernels[binding.var] = str(binding.value.args[0].name_hint)
        if not moved.isdisjoint(read):
            found.add(name)
        if is_move(mod[binding.value.args[0]]):
            moved.add(binding.var)
            found.update(kernels[var] for var in read if var in kernels)
    return found
