"""Where operators' results end up in memory: most are one step of a kernel, in registers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tvmcomp.passes.rewriter import consumers, main_bindings
from tvmcomp.tvm_types import Module, Var


def stored_results(mod: Module, stored: Collection[Var]) -> dict[Any, Any]:
    """For each variable of ``main``, which of ``stored`` it is, or which is the first to be made of
    it; what none is made of is left out.
    """
    users = consumers(mod)
    found: dict[Any, Any] = {var: var for var in stored}
    for binding in reversed(main_bindings(mod) or []):
        readers = (reader.var for reader in users[binding.var] if reader is not None)
        end = next((found[reader] for reader in readers if reader in found), None)
        if end is not None:
            found.setdefault(binding.var, end)
    return found
