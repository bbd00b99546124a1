"""A chain of element-wise operators on one 8-bit tensor, as a lookup table of its 256 results."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.passes.elementwise import BINARY, ELEMENT_WISE_KERNEL, UNARY, UNARY_WITH_ATTRIBUTES
from tvmcomp.passes.rewriter import const, const_value, op_name
from tvmcomp.qparams import QParams, dequantize, quantize
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Var


def evaluate_chain(
    producer: dict[Var, Expr], root: Any, result: Expr, root_params: QParams, params: QParams
) -> np.ndarray:
    """Evaluate the chain from ``root`` to ``result`` on every integer that ``root`` can hold.

    Args:
        producer: variable -> the call that computes it.
        root: the chain's input, quantized with ``root_params``.
        result: the chain's output, to be quantized with ``params``.

    Returns:
        256 integers of ``params.dtype``, indexed by the input minus its type's minimum.
    """
    limits = np.iinfo(root_params.dtype)
    integers = np.arange(limits.min, limits.max + 1).astype(root_params.dtype)
    # In float64: the table holds the correctly rounded result whatever libm the target has.
    real = dequantize(integers, root_params).astype(np.float64)
    values = {root: real}
    with np.errstate(all="ignore"):
        out = np.nan_to_num(_evaluate(producer, result, values)).astype(np.float32)
    return quantize(out, params)


def _evaluate(producer: dict[Var, Expr], expr: Expr, values: dict[Any, np.ndarray]) -> np.ndarray:
    constant = const_value(expr)
    if constant is not None:
        return constant.reshape(()).astype(np.float64)
    if expr in values:
        return values[expr]
    call = producer[expr]
    name = op_name(call) or ""
    if name in UNARY:
        out = UNARY[name](_evaluate(producer, call.args[0], values))
    elif name in UNARY_WITH_ATTRIBUTES:
        out = UNARY_WITH_ATTRIBUTES[name](_evaluate(producer, call.args[0], values), call)
    else:
        left, right = (_evaluate(producer, arg, values) for arg in call.args)
        out = BINARY[name](left, right)
    values[expr] = out
    return out


def lookup(builder: Builder, data: Expr, table: np.ndarray, name: str) -> Expr:
    """A call that replaces each integer of ``data`` by its entry of ``table``."""
    te = tvm.te

    def compute(x: Expr, entries: Any) -> Expr:
        low = int(np.iinfo(str(x.dtype)).min)
        return te.compute(
            x.shape, lambda *i: entries[x[i].astype("int32") - low], name="table_lookup"
        )

    # Each element depends on its own place alone: it may be fused behind an anchor.
    return builder.call_te(
        compute,
        data,
        const(table),
        primfunc_name_hint=name,
        primfunc_attrs={ELEMENT_WISE_KERNEL: True},
    )
