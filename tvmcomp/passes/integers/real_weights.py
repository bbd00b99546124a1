"""Weights that a model stores as integers, with float activations, as real ones.

    dequantize(weight)  ->  float weight

A model of such weights says nothing of its activations. To quantize these, it is a float network
like any other: its weights are then rounded by channel again, to nearly the same integers.
"""

from __future__ import annotations

import numpy as np

from tvmcomp.passes.integers.qdq import dequantize_params
from tvmcomp.passes.rewriter import BindingRewriter, const, const_value, main_bindings, op_name
from tvmcomp.qparams import dequantize
from tvmcomp.tvm_types import Expr, Module, Var


def has_integer_weights_only(mod: Module) -> bool:
    """Whether constants alone are quantized in ``mod``, and some are."""
    found = False
    for binding in main_bindings(mod) or []:
        kind = op_name(binding.value)
        if kind == "quantize":
            return False
        if kind == "dequantize":
            if const_value(binding.value.args[0]) is None:
                return False
            found = True
    return found


def real_weights(mod: Module) -> Module:
    """Replace each ``dequantize`` of constants by its value."""
    return _RealWeights(mod).run()


class _RealWeights(BindingRewriter):
    def rewrite(self, var: Var, value: Expr) -> Expr:
        if op_name(value) == "dequantize":
            integers, params = const_value(value.args[0]), dequantize_params(value)
            if integers is not None and params is not None:
                return const(dequantize(integers, params).astype(np.float32))
        return super().rewrite(var, value)
