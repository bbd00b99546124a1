"""What phases require and ensure of a module: each says what is wrong with it, or ""."""

from __future__ import annotations

from tvmcomp.passes.operator_kinds import CONVOLUTIONS
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.passes.scheduled.schedule import SCHEDULED_AS, schedulable
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Module

_QUANTIZATION = ("quantize", "dequantize")


def convolutions_channels_last(mod: Module) -> str:
    """Every convolution of ``main`` reads NHWC."""
    for binding in main_bindings(mod) or []:
        if op_name(binding.value) in CONVOLUTIONS:
            layout = str(binding.value.attrs.data_layout)
            if not layout.endswith("C"):
                return f"{binding.var.name} is a convolution in {layout}"
    return ""


def only_kernels(mod: Module) -> str:
    """``main`` does nothing but call kernels."""
    for binding in main_bindings(mod) or []:
        name = op_name(binding.value)
        if name in _QUANTIZATION or (name and name.startswith(("nn.", "image."))):
            return f"{binding.var.name} is still the operator {name}"
    return ""


def kernels_scheduled(mod: Module) -> str:
    """Every kernel that can have a schedule has one."""
    for var, func in mod.functions.items():
        if not isinstance(func, tvm.tirx.PrimFunc) or not schedulable(func):
            continue
        if not (func.attrs and func.attrs.get(SCHEDULED_AS)):
            return f"{var.name_hint} has no schedule"
    return ""
