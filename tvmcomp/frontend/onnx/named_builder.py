"""The BlockBuilder that converters emit with: what it emits carries the node's name."""

from __future__ import annotations

import re
from typing import Any

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, PrimFunc

relax = tvm.relax


class NamedBuilder:
    """The BlockBuilder that a converter sees: names what it emits ``<node>__<operator>``."""

    def __init__(self, block: Any, name: str) -> None:
        self._block = block
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._block, attribute)

    def emit(self, expr: Expr, name_hint: str = "") -> Any:
        """Bind ``expr`` to a new variable."""
        expr = self.flatten(expr)
        return self._block.emit(expr, name_hint or f"{self._name}__{_operator(expr)}")

    def emit_te(self, func: PrimFunc, *args: Expr, **kwargs: Any) -> Any:
        """Bind a call of the kernel that ``func`` computes."""
        return self.emit(self._block.call_te(func, *args, **kwargs))

    def normalize(self, expr: Expr) -> Any:
        """``expr`` with its type."""
        return self._block.normalize(self.flatten(expr))

    def flatten(self, expr: Expr) -> Any:
        """Emit the arguments of ``expr`` that are operators themselves."""
        if isinstance(expr, relax.TupleGetItem):
            if not isinstance(expr.tuple_value, relax.Var):
                return relax.TupleGetItem(self.emit(expr.tuple_value), expr.index)
            return expr
        if not isinstance(expr, tvm.ir.Call):
            return expr
        if not any(isinstance(a, relax.Tuple) or not self._is_bound(a) for a in expr.args):
            return expr
        arguments = [self._argument(argument) for argument in expr.args]
        return tvm.ir.Call(expr.op, arguments, expr.attrs, expr.ty_args, expr.span)

    def _argument(self, argument: Expr) -> Any:
        if isinstance(argument, relax.Tuple):
            return relax.Tuple([self._argument(field) for field in argument.fields])
        return argument if self._is_bound(argument) else self.emit(argument)

    @staticmethod
    def _is_bound(argument: Expr) -> bool:
        # A scalar of TIR is a Call as well (a cast, say), but no tensor.
        return not isinstance(argument, tvm.ir.Call | relax.TupleGetItem) or tvm.ir.is_prim_expr(
            argument
        )


def _operator(expr: Expr) -> str:
    name = getattr(getattr(expr, "op", None), "name", "item")
    return re.sub(r"\W", "_", name.removeprefix("relax.").removeprefix("nn."))
