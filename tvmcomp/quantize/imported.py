"""What runs in integers in a model that came quantized (Q/DQ in its file)."""

from __future__ import annotations

from tvmcomp.model import Operator
from tvmcomp.passes.integers.activation_product import float_reason
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.macs import macs
from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import dtype_of, main_bindings, op_name, shape_of
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Module, Var


def imported_operators(mod: Module, target: TargetDescription) -> list[Operator]:
    """List the operators of ``mod`` (NHWC, with Q/DQ) and the type each runs in after ``realize``.

    An operator that ``realize`` replaced is gone from the float operators that remain.
    """
    realized = {
        binding.var.name: op_name(binding.value)
        for binding in main_bindings(realize(mod, target)) or []
        if isinstance(binding.var.ty, tvm.relax.TensorType) and dtype_of(binding.var) == "float32"
    }
    quantized = {
        binding.var
        for binding in main_bindings(mod) or []
        if op_name(binding.value) == "dequantize"
    }
    operators = []
    for binding in main_bindings(mod) or []:
        kind = op_name(binding.value)
        if kind is None or kind in ("quantize", "dequantize"):
            continue
        stays = realized.get(binding.var.name) == kind
        anchor = kind in ANCHORS
        reason = _anchor_reason(binding.value, quantized, target) if anchor else "no integer form"
        operators.append(
            Operator(
                name=str(binding.var.name),  # TVM's own kind of string can't be written as JSON
                kind=kind,
                dtype="float32" if stays else "int8",
                reason=reason if stays else None,
                macs=macs(binding.value),
            )
        )
    return operators


def _anchor_reason(call: Call, quantized: set[Var], target: TargetDescription) -> str:
    """Why an anchor stays float."""
    reason = None
    if op_name(call) == "matmul" and all(arg in quantized for arg in call.args):
        reason = float_reason(shape_of(call.args[0]), shape_of(call.args[1]), target)
    return reason or "its inputs are not quantized in the model"
