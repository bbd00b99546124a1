"""Runs a network that is lowered for a GPU on the CPU, kernel after kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gpu_expressions import numpy_dtype
from gpu_on_cpu import run_on_cpu

from tvmcomp.passes.pipeline import Lowered
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.tvm_import import tvm

relax = tvm.relax


def run_network(lowered: Lowered, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of ``main``."""
    main = lowered.mod["main"]
    given = [*inputs, *lowered.constants]
    known: dict[Any, Any] = dict(zip(main.params, map(np.ascontiguousarray, given), strict=True))

    def value_of(expr: Any) -> Any:
        if isinstance(expr, relax.Tuple):
            return [value_of(field) for field in expr.fields]
        return known[expr]

    for binding in main_bindings(lowered.mod) or []:
        call = binding.value
        if op_name(call) != "call_tir":
            known[binding.var] = value_of(call)
            continue
        func = lowered.mod[call.args[0]]
        shape = [int(n) for n in binding.var.ty.shape]
        result = np.zeros(shape, numpy_dtype(binding.var.ty.dtype))
        run_on_cpu(func, lowered.target, [*value_of(call.args[1]), result])
        known[binding.var] = result
    outputs = value_of(main.body.body)
    return outputs if isinstance(outputs, list) else [outputs]
