"""Runs a network that is lowered for a GPU on the CPU, kernel after kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gpu_expressions import numpy_dtype
from gpu_on_cpu import run_on_cpu

from tvmcomp.passes.lowered import Lowered
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
        if isinstance(call, relax.TupleGetItem):
            known[binding.var] = value_of(call.tuple_value)[int(call.index)]
            continue
        if op_name(call) != "call_tir":
            known[binding.var] = value_of(call)
            continue
        func = lowered.mod[call.args[0]]
        kind = binding.var.ty
        several = isinstance(kind, relax.TupleType)
        results = [
            np.zeros([int(n) for n in each.shape], numpy_dtype(each.dtype))
            for each in (kind.fields if several else [kind])
        ]
        run_on_cpu(func, lowered.target, [*value_of(call.args[1]), *results])
        known[binding.var] = results if several else results[0]
    outputs = value_of(main.body.body)
    return outputs if isinstance(outputs, list) else [outputs]
