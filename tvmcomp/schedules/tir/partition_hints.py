"""Hints to set the last round of a loop apart, on the loop that they stand around.

TVM makes them statements that name the loop's variable, gives loops of 64 bits new variables, and
then finds no loop with the old one: no hint of a network's kernels was followed.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, PrimFunc

tirx = tvm.tirx
_HINT = "pragma_loop_partition_hint"


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.PartitionHints")  # type: ignore[untyped-decorator]
def partition_hints(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """Name each hint's own loop."""

    def renamed(node: Any) -> Any:
        if node.attr_key != _HINT or not isinstance(node.body, tirx.For):
            return node
        return tirx.AttrStmt(node.body.loop_var, _HINT, node.value, node.body)

    return func.with_body(tvm_ffi.structural_map(func.body, ((tirx.AttrStmt, renamed),)))
