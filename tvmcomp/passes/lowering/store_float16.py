"""Keep the weights of a float16 model in float16, where that costs no time.

The network computes in float32; its weights are widened as they are loaded. A convolution that is
fastest by Winograd's algorithm keeps float32 weights: they are transformed at build time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.passes.lowering.lower_anchors import as_anchor
from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import BindingRewriter, const, const_value, op_name, with_attributes
from tvmcomp.schedules.conv.winograd import winograd_tile
from tvmcomp.schedules.dot import float_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax


def store_float16(mod: Module, target: TargetDescription) -> tuple[Any, frozenset[str]]:
    """Make float16 of the constant float32 weights of convolutions and matrix products.

    Args:
        mod: float Relax in NHWC.
        target: a CPU target.

    Returns:
        The module, and the names of the operators whose weights are float16 in it.
    """
    pass_ = _StoreFloat16(mod, target)
    return pass_.run(), frozenset(pass_.stored)


class _StoreFloat16(BindingRewriter):
    def __init__(self, mod: Module, target: TargetDescription) -> None:
        super().__init__(mod)
        self.target = target
        self.stored: set[str] = set()

    def rewrite(self, var: Var, value: Expr) -> Expr:
        weight = const_value(value.args[1]) if op_name(value) in ANCHORS else None
        if weight is None or weight.dtype != np.float32 or not self.serves(value, weight):
            return super().rewrite(var, value)
        self.stored.add(str(var.name))
        data = self.substitute(value.args[0])
        attrs = with_attributes(value.attrs, out_dtype=tvm.runtime.DataType("float32"))
        narrow = const(weight.astype(np.float16))
        return self.emit(relax.Call(value.op, [data, narrow], attrs), var.name)

    def serves(self, call: Call, weight: np.ndarray) -> bool:
        """Whether float16 holds the weight, and no other form of the operator is faster."""
        if op_name(call) == "matmul":
            if weight.ndim != 2:
                return False
        elif not str(call.attrs.data_layout).endswith("C"):
            return False
        if np.abs(weight[np.isfinite(weight)]).max(initial=0) > np.finfo(np.float16).max:
            return False
        anchor, _ = as_anchor(call, weight)
        return winograd_tile(anchor, float_kernel(self.target), self.target) is None
