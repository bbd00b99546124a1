"""Where operators' results end up in memory: most are one step of a kernel, in registers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tvmcomp.passes.rewriter import consumers, main_bindings
from tvmcomp.tvm_types import Module, Var


def stored_results(mod: Module, stored: Collection[Var]) -> dict[Any, Any]:
    """For each variable of ``main``, which of ``stored`` it is, or it alone is read for.

    What several read, or none of ``stored`` follows, is left out.
    """
    users = consumers(mod)
    found: dict[Any, Any] = {var: var for var in stored}
    for binding in reversed(main_bindings(mod) or []):
        readers = users[binding.var]
        if binding.var not in found and len(readers) == 1 and readers[0] is not None:
            end = found.get(readers[0].var)
            if end is not None:
                found[binding.var] = end
    return found
