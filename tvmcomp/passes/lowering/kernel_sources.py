"""Which operators of the source model each kernel computes, by the names that survive lowering."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping

from tvmcomp.loops import LOOP_BODY
from tvmcomp.passes.rewriter import op_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

relax = tvm.relax
#: What lowering adds to an operator's name: a number, and what part of it a value is.
_ADDED = re.compile(r"\d*(_[A-Za-z_]+\d*)?")


def kernel_sources(mod: Module) -> dict[str, frozenset[str]]:
    """The names of the values that each kernel computes, by the kernel's name.

    Args:
        mod: Relax after FuseOps, before FuseTIR: the name of a value within a fused function, and
            of the PrimFunc that computes it, begins with the operator's that it comes from.
    """
    sources: dict[str, set[str]] = {}
    for name, func in mod.functions.items():
        if not isinstance(func, relax.Function) or not isinstance(func.body, relax.SeqExpr):
            continue
        own = name.name_hint == "main" or (func.attrs and LOOP_BODY in func.attrs.keys())  # noqa: SIM118
        fused = None if own else name.name_hint
        for binding in (each for block in func.body.blocks for each in block.bindings):
            if op_name(binding.value) == "call_tir":
                kernel = binding.value.args[0].name_hint
                sources.setdefault(fused or kernel, set()).update((binding.var.name, kernel))
    return {str(kernel): frozenset(map(str, names)) for kernel, names in sources.items()}


def kernels_of_operators(
    operators: Iterable[str], sources: Mapping[str, frozenset[str]]
) -> dict[str, list[str]]:
    """The kernels of each operator that names can tell.

    The last operator of a fused kernel may be missing: fusion renames its value.
    """
    known = set(operators)
    found: dict[str, list[str]] = {}
    for kernel, names in sources.items():
        for operator in {operator_of(name, known) for name in names} - {None}:
            found.setdefault(str(operator), []).append(kernel)
    return found


def operator_of(name: str, known: Container[str]) -> str | None:
    """The longest operator's name that ``name`` is, but for what lowering adds."""
    for end in range(len(name), 0, -1):
        if name[:end] in known and _ADDED.fullmatch(name[end:]):
            return name[:end]
    return None
