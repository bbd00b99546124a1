"""Dynamic quantization: weights in int8, data rounded when the network runs, with no calibration.

    y = x W  ->  y = float(round(x / s) Wq) * s * w        s = max |x| / 127, of a row (a sample)

As in ONNX Runtime's ``quantize_dynamic`` and LiteRT's hybrid operators the weight has a scale for
each output channel; each row of a product's data has one of its own, and so has each sample of a
convolution's. Recurrent layers multiply their state in 8 bits as in a calibrated network: its range
is known. All else stays float. Nothing is measured, so no accuracy guard can run: what does harm is
named to ``keep_float``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from tvmcomp.loops import loop_bodies
from tvmcomp.passes.bodies import in_bodies, views
from tvmcomp.passes.macs import macs
from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const,
    const_value,
    main_bindings,
    op_name,
    shape_of,
    with_attributes,
)
from tvmcomp.qparams import quantize, weight_qparams
from tvmcomp.quantize.annotate import annotate
from tvmcomp.quantize.choice import PrecisionChoice
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.operator_report import report_operators
from tvmcomp.quantize.pipeline import check_patterns
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.planned_operator import PlannedOperator
from tvmcomp.quantize.rounded_weight import weight_axis
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax

#: Below so many products for each number that is rounded, rounding takes longer than it saves.
FEWEST_PRODUCTS = 32
_FEW = "too few products for each number that would be rounded"
_OTHER = "dynamic quantization leaves it float"
_STEPS = 127.0
#: A row of zeros has this scale.
_SMALLEST = 1e-30


def quantize_dynamically(mod: Module, config: QuantConfig) -> PrecisionChoice:
    """Quantize a float network (NHWC) without samples.

    Raises:
        ConfigError: a pattern of ``config`` matches no operator.
    """
    plans = [_plan(view, config) for view in views(mod)]
    check_patterns(config, [operator for plan in plans for operator in plan])
    rounded = in_bodies(lambda view: _quantized(view, _plan(view, config)))(mod)
    bodies = dict(zip(loop_bodies(mod), plans[1:], strict=True))
    return PrecisionChoice(
        rounded,
        "dynamic",
        report_operators(mod, plans[0], bodies=bodies),
        notes=["dynamic: data is rounded when the network runs; no samples, so no accuracy guard"],
    )


def _plan(mod: Module, config: QuantConfig) -> list[PlannedOperator]:
    """What of ``main`` is done without calibration."""
    calls = {binding.var: binding.value for binding in main_bindings(mod) or []}
    return [_restricted(op, calls[op.var]) for op in plan_operators(mod, config)]


def _quantized(mod: Module, operators: Sequence[PlannedOperator]) -> Any:
    """``mod`` with those of ``main`` in integers."""
    inner = [op for op in operators if op.is_recurrent or op.is_embedding]
    changed = annotate(mod, inner, {}) if inner else mod
    return _Dynamic(changed, {op.name for op in operators if op.is_anchor}).run()


def _restricted(operator: PlannedOperator, call: Call) -> PlannedOperator:
    """What of a plan is done without calibration."""
    if operator.is_recurrent or operator.is_embedding:
        return operator
    if operator.is_anchor and macs(call) >= FEWEST_PRODUCTS * prod(shape_of(call.args[0])):
        return replace(operator, reads=(), readers=())
    reason = _FEW if operator.is_anchor else operator.reason or _OTHER
    return replace(operator, quantized=False, reads=(), readers=(), reason=reason)


class _Dynamic(BindingRewriter):
    """Makes integer products of the anchors with these names."""

    def __init__(self, mod: Module, chosen: set[str]) -> None:
        super().__init__(mod)
        self.chosen = chosen
        #: Data and the axes that share a scale -> its integers and scales: readers share them.
        self.rounded: list[tuple[Any, tuple[int, ...], tuple[Any, Any]]] = []

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if str(var.name) not in self.chosen or op_name(value) not in ANCHORS:
            return super().rewrite(var, value)
        kind, name = op_name(value) or "", str(var.name)
        weight = const_value(value.args[1])
        assert weight is not None
        params = weight_qparams(weight, weight_axis(kind))
        integers = const(quantize(weight, params))
        data = self.substitute(value.args[0])
        rank = len(shape_of(data))
        axes = (rank - 1,) if kind == "matmul" else tuple(range(1, rank))
        rounded, scale = self.round(data, axes, name)
        if kind == "matmul":
            product = relax.op.matmul(rounded, integers, out_dtype="int32")
        else:
            attrs = with_attributes(value.attrs, out_dtype=tvm.runtime.DataType("int32"))
            product = relax.Call(value.op, [rounded, integers], attrs)
        product = self.emit(product, name)
        real = self.emit(relax.op.astype(product, "float32"), f"{name}_float")
        real = self.emit(relax.op.multiply(real, const(params.scale)), f"{name}_scaled")
        return self.emit(relax.op.multiply(real, scale), f"{name}_real")

    def round(self, data: Expr, axes: tuple[int, ...], name: str) -> tuple[Any, Any]:
        """``data`` in int8, and its scales, with ``axes`` of 1."""
        for known, along, found in self.rounded:
            if known.same_as(data) and along == axes:
                return found
        size = self.emit(relax.op.abs(data), f"{name}_size")
        largest = self.emit(relax.op.max(size, list(axes), keepdims=True), f"{name}_largest")
        step = relax.op.multiply(largest, _number(1 / _STEPS))
        scale = self.emit(
            relax.op.maximum(self.emit(step, f"{name}_step"), _number(_SMALLEST)), f"{name}_scale"
        )
        inverse = self.emit(relax.op.divide(_number(1.0), scale), f"{name}_inverse")
        steps = self.emit(relax.op.multiply(data, inverse), f"{name}_steps")
        nearest = self.emit(relax.op.round(steps), f"{name}_nearest")
        found = (self.emit(relax.op.astype(nearest, "int8"), f"{name}_rounded"), scale)
        self.rounded.append((data, axes, found))
        return found


def _number(value: float) -> Any:
    return relax.const(np.float32(value), "float32")
