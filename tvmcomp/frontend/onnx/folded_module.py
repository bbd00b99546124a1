"""Constant folding of an imported function, which leaves the constants of Q/DQ as they are.

Folding would turn an int8 weight and its scale back into a float weight: until it is over, these
constants are parameters.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.large import check_sizes, hide_from_folding
from tvmcomp.frontend.onnx.limits import TensorLimits
from tvmcomp.frontend.onnx.reasons import reason
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module

relax = tvm.relax

#: The operators whose constants are kept.
_KEEPING = {"relax.quantize", "relax.dequantize"}


class KeptConstants:
    """The constants that folding does not see.

    Attributes:
        values: by the parameters that stand for them.
    """

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}

    def hidden(self, expr: Expr) -> Any:
        """``expr`` with parameters in the place of the constants under Q/DQ in it."""
        if not isinstance(expr, tvm.ir.Call) or tvm.ir.is_prim_expr(expr):
            return expr
        keep = self._parameter if getattr(expr.op, "name", "") in _KEEPING else self.hidden
        arguments = [keep(argument) for argument in expr.args]
        return tvm.ir.Call(expr.op, arguments, expr.attrs, expr.ty_args, expr.span)

    def _parameter(self, value: Expr) -> Any:
        if not isinstance(value, tvm.ir.GenericConst):
            return value
        var = relax.Var(f"kept_{len(self.values)}", value.ty)
        self.values[var] = value
        return var


def folded(mod: Module, kept: KeptConstants, limits: TensorLimits) -> Any:
    """``mod`` without what constants say, and without the parameters of ``kept``.

    Raises:
        ModelError: a constant expression can't be evaluated, or exceeds a limit.
    """
    check_sizes(mod, limits)
    mod, large = hide_from_folding(mod, limits)
    try:
        mod = relax.transform.FoldConstant()(mod)
    except Exception as error:
        raise ModelError(
            f"a constant expression can't be evaluated: {reason(error)}",
            where=limits.where,
            hint="`tvmcomp --verbose …` shows where it stopped.",
        ) from error
    mod = relax.transform.BindParams("main", {**kept.values, **large})(mod)
    mod = relax.transform.CanonicalizeBindings()(mod)
    return relax.transform.DeadCodeElimination(["main"])(mod)
