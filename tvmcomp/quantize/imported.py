"""What runs in integers in a model that came quantized (Q/DQ in its file)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tvmcomp.block_weights import BLOCK_MATMUL
from tvmcomp.model import Operator
from tvmcomp.passes.elementwise import CHEAP
from tvmcomp.passes.integers.activation_product import float_reason
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.macs import macs
from tvmcomp.passes.operator_kinds import ANCHORS, PASS_THROUGH
from tvmcomp.passes.rewriter import dtype_of, main_bindings, op_name, shape_of
from tvmcomp.quantize.reasons import IN_REGISTERS
from tvmcomp.recurrent import RECURRENT, cell_of
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Binding, Call, Module, Var


def imported_operators(mod: Module, target: TargetDescription) -> list[Operator]:
    """List the operators of ``mod`` (NHWC, with Q/DQ) and the type each runs in after ``realize``.

    An operator that ``realize`` replaced is gone from the float operators that remain. What an
    integer anchor's kernel computes in its registers before it rounds is part of that kernel.
    """
    bindings = main_bindings(mod) or []
    made = main_bindings(realize(mod, target)) or []
    realized = {
        binding.var.name: op_name(binding.value)
        for binding in made
        if isinstance(binding.var.ty, tvm.relax.TensorType) and dtype_of(binding.var) == "float32"
    }
    in_integers = {
        str(binding.var.name)
        for binding in made
        if op_name(binding.value) == RECURRENT and cell_of(binding.value).in_integers
    }
    quantized = {b.var for b in bindings if op_name(b.value) == "dequantize"}
    stay = {b.var for b in bindings if realized.get(b.var.name) == op_name(b.value)}
    in_registers = _in_registers(bindings, stay)
    rounded = _rounded(bindings)
    operators = []
    for binding in bindings:
        kind, var = op_name(binding.value), binding.var
        if kind is None or kind in ("quantize", "dequantize"):
            continue
        dtype, reason = "int8", None
        if kind not in ANCHORS and _computes_integers(var):
            dtype = dtype_of(var)
        elif kind == BLOCK_MATMUL:
            dtype = f"{dtype_of(var)}, weights int4"
        elif kind == RECURRENT and str(var.name) not in in_integers:
            dtype, reason = "float32", "its weights are not quantized in the model"
        elif var in in_registers and var not in rounded:
            dtype, reason = "float32", IN_REGISTERS
        elif var in stay and var not in in_registers and not _between(binding, quantized, rounded):
            dtype, reason = "float32", "no integer form"
            if kind in ANCHORS:
                reason = _anchor_reason(binding.value, quantized, target)
        name = str(var.name)  # TVM's own kind of string can't be written as JSON
        operators.append(Operator(name, kind, dtype, reason, macs=macs(binding.value)))
    return operators


def _between(binding: Binding, quantized: Collection[Var], rounded: Collection[Var]) -> bool:
    """Whether a cheap operator reads 8-bit tensors and is rounded to one: nothing of it is float in
    memory."""
    read = [arg for arg in binding.value.args if isinstance(arg, tvm.relax.Var)]
    cheap = op_name(binding.value) in CHEAP and binding.var in rounded
    return cheap and bool(read) and all(arg in quantized for arg in read)


def _computes_integers(var: Var) -> bool:
    """Whether a result is one of integers in the model itself."""
    return isinstance(var.ty, tvm.relax.TensorType) and not dtype_of(var).startswith("float")


def _in_registers(bindings: Sequence[Binding], stay: Collection[Var]) -> set[Var]:
    """Float results that the kernel of an integer anchor computes, in the anchor's shape."""
    chain: set[Var] = set()
    found = set()
    for binding in bindings:
        var, kind = binding.var, op_name(binding.value)
        if kind in ANCHORS and var not in stay:
            chain.add(var)
        elif kind in CHEAP and any(
            arg in chain and shape_of(arg) == shape_of(var)
            for arg in binding.value.args
            if isinstance(arg, tvm.relax.Var)
        ):
            chain.add(var)
            if var in stay:
                found.add(var)
    return found


def _rounded(bindings: Sequence[Binding]) -> set[Var]:
    """Results that a ``quantize`` reads, itself or through cheap operators and moves."""
    found: set[Var] = set()
    for binding in reversed(bindings):
        kind = op_name(binding.value)
        through = kind in CHEAP or kind in PASS_THROUGH
        if kind == "quantize" or (through and binding.var in found):
            found.update(tvm.relax.analysis.free_vars(binding.value))
    return found


def _anchor_reason(call: Call, quantized: set[Var], target: TargetDescription) -> str:
    """Why an anchor stays float."""
    reason = None
    if op_name(call) == "matmul" and all(arg in quantized for arg in call.args):
        reason = float_reason(shape_of(call.args[0]), shape_of(call.args[1]), target)
    return reason or "its inputs are not quantized in the model"
