"""Half precision on a GPU: convolutions and matrix products multiply 16-bit floats into float32.

Products of two computed matrices too: attention's.

CPUs have it in :mod:`tvmcomp.passes.lowering.lower_anchors`, where the weight is widened as it
is read.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const,
    const_value,
    dtype_of,
    op_name,
    with_attributes,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Module, Var

relax = tvm.relax
_NUMPY = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def half_precision(mod: Module, dtype: str) -> Module:
    """Give every anchor of float32 ``dtype`` operands and a float32 result; a convolution whose
    weight is computed stays as it is.

    Args:
        mod: Relax.
        dtype: ``float16`` or ``bfloat16``.
    """
    return _HalfPrecision(mod, dtype).run()


def narrowed(weight: np.ndarray, dtype: str) -> np.ndarray:
    """``weight`` in half precision: what is too large for it becomes its largest number, and what
    is infinite or NaN stays so.
    """
    limit = float(ml_dtypes.finfo(_NUMPY[dtype]).max)
    finite = np.where(np.isinf(weight), weight, np.clip(weight, -limit, limit))
    return np.asarray(finite.astype(_NUMPY[dtype]))


class _HalfPrecision(BindingRewriter):
    def __init__(self, mod: Module, dtype: str) -> None:
        super().__init__(mod)
        self.dtype = dtype

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if op_name(value) not in ANCHORS or any(dtype_of(a) != "float32" for a in value.args):
            return super().rewrite(var, value)
        weight = const_value(value.args[1])
        if weight is None and op_name(value) != "matmul":
            return super().rewrite(var, value)
        data = self.half(value.args[0], f"{var.name}_half")
        if weight is None:
            narrow = self.half(value.args[1], f"{var.name}_right_half")
        else:
            narrow = const(narrowed(weight, self.dtype))
        attrs = with_attributes(value.attrs, out_dtype=tvm.runtime.DataType("float32"))
        return self.emit(relax.Call(value.op, [data, narrow], attrs), var.name)

    def half(self, value: Expr, name: str) -> Expr:
        """``value`` in half precision."""
        return self.emit(relax.op.astype(self.substitute(value), self.dtype), name)
