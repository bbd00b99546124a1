"""Marks that TVM's own operators leave around sequences of statements are taken out.

Its builder of loops marks each sequence so that it prints in one piece; its LLVM code generator
does not know the mark, and warns of it on the user's terminal.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module, PrimFunc

tirx = tvm.tirx
_MARK = "pragma_scope"


@tirx.transform.prim_func_pass(opt_level=0, name="tvmcomp.UnmarkedSequences")  # type: ignore[untyped-decorator]
def unmarked_sequences(func: PrimFunc, _mod: Module, _context: Any) -> Any:
    """Put what a mark stands around into its place."""

    def unmark(node: Any) -> Any:
        return node.body if node.attr_key == _MARK else node

    return func.with_body(tvm_ffi.structural_map(func.body, ((tirx.AttrStmt, unmark),)))
