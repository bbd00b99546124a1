"""Multiplication by a constant 0, so that NaN and infinity times 0 are NaN.

TVM simplifies it to 0. A factor that it loads, in place of a number in the code, it can't know.
"""

from __future__ import annotations

import numpy as np

from tvmcomp.passes.rewriter import (
    BindingRewriter,
    calls_any,
    const,
    const_value,
    dtype_of,
    op_name,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax
_FACTORS = ("multiply", "nn.leakyrelu")


def zero_factor(mod: Module) -> Module:
    """Give the scalar zeros that floats of ``mod`` are multiplied by a dimension."""
    return _ZeroFactor(mod).run() if calls_any(mod, _FACTORS) else mod


class _ZeroFactor(BindingRewriter):
    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        if name == "nn.leakyrelu" and float(value.attrs.alpha) == 0 and shape_of(var):
            return self.flat_below_zero(self.substitute(value.args[0]), var.name)
        if name != "multiply" or not shape_of(var):
            return super().rewrite(var, value)
        args = [self.substitute(arg) for arg in value.args]
        for position, arg in enumerate(args):
            factor = const_value(arg)
            if (
                factor is not None
                and factor.shape == ()
                and factor.dtype.kind == "f"
                and not factor
            ):
                args[position] = const(factor.reshape(1))
        return self.emit(relax.op.multiply(*args), var.name)

    def flat_below_zero(self, data: Expr, name: str) -> Expr:
        """``nn.leakyrelu`` with a slope of 0."""
        zero = np.zeros((), dtype_of(data))
        positive = self.emit(relax.op.greater(data, const(zero)), f"{name}_positive")
        below = self.emit(relax.op.multiply(data, const(zero.reshape(1))), f"{name}_below")
        return self.emit(relax.op.where(positive, data, below), name)
