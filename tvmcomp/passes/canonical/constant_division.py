"""Division by a constant as multiplication by its reciprocal: a vector division takes ten times as
long."""

from __future__ import annotations

import numpy as np

from tvmcomp.passes.rewriter import BindingRewriter, const, const_value, op_name
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax


def constant_division(mod: Module) -> Module:
    """Rewrite the float32 divisions of ``mod`` whose divisor is constant."""
    return _ConstantDivision(mod).run()


class _ConstantDivision(BindingRewriter):
    def rewrite(self, var: Var, value: Expr) -> Expr:
        divisor = const_value(value.args[1]) if op_name(value) == "divide" else None
        if divisor is None or divisor.dtype != np.float32:
            return super().rewrite(var, value)
        with np.errstate(divide="ignore", over="ignore"):
            reciprocal = np.asarray(1 / divisor.astype(np.float64)).astype(np.float32)
        tiny = np.finfo(np.float32).tiny
        if not (np.isfinite(reciprocal) & (np.abs(reciprocal) >= tiny)).all():
            return super().rewrite(var, value)
        data = self.substitute(value).args[0]
        return self.emit(relax.op.multiply(data, const(reciprocal)), var.name)
