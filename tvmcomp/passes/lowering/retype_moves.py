"""Kernels that only move elements, on elements of another type.

A transposition, a slice, a concatenation, a padding with a number or a resize to the nearest
neighbour gives each element as it was: it may as well move the bits of bfloat16.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.bfloat16 import BITS, bfloat16_bits
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, PrimFunc, Var

tirx = tvm.tirx
_TensorLoad = tvm.ir.expr.TensorLoad


def moved_in_bfloat16(func: PrimFunc) -> Any | None:
    """The PrimFunc ``func`` on the bits of bfloat16 in place of float32.

    Returns:
        None where ``func`` computes with its elements, or has several stages.
    """
    if not isinstance(func.body, tvm.s_tir.SBlockRealize) or list(func.body.block.alloc_buffers):
        return None
    new = {
        # As kernels made of tensor expressions are: fused, both must have the same buffer type.
        param: tirx.decl_buffer(param.shape, BITS, param.name, scope=param.scope(), layout=None)
        for param in func.params
        if str(param.dtype) == "float32"
    }
    stores: list[Any] = []
    tvm_ffi.structural_walk(func.body, ((tirx.BufferStore, stores.append),))
    if not all(store.buffer in new and _is_move(store.value, new) for store in stores):
        return None

    def store(node: Any) -> Any:
        return tirx.BufferStore(new[node.buffer], _moved(node.value, new), node.indices)

    def region(node: Any) -> Any:
        if node.source not in new:
            return node
        return tirx.BufferRegion(new[node.source], node.region)

    body = tvm_ffi.structural_map(
        func.body, ((tirx.BufferStore, store), (tvm.ir.expr.TensorRegion, region))
    )
    params = [new.get(param, param) for param in func.params]
    return tirx.PrimFunc(params, body, func.ret_type, attrs=func.attrs)


def _is_move(value: Expr, new: dict[Var, Expr]) -> bool:
    """Whether ``value`` is an element of a buffer in ``new``, a number, or one of several such."""
    if isinstance(value, _TensorLoad):
        found: list[Any] = []
        tvm_ffi.structural_walk(value, ((_TensorLoad, found.append),))
        # No float decides where an element is read.
        return value.source in new and sum(load.source in new for load in found) == 1
    choices = _choices(value)
    return isinstance(value, tirx.FloatImm) or (
        choices is not None and all(_is_move(choice, new) for choice in choices[1:])
    )


def _moved(value: Expr, new: dict[Var, Expr]) -> Expr:
    if isinstance(value, _TensorLoad):
        return tirx.BufferLoad(new[value.source], value.indices)
    if isinstance(value, tirx.FloatImm):
        return tirx.const(bfloat16_bits(float(value.value)), BITS)
    choices = _choices(value)
    assert choices is not None
    condition, first, second = choices
    return tirx.if_then_else(condition, _moved(first, new), _moved(second, new))


def _choices(value: Expr) -> tuple[Any, Any, Any] | None:
    """The condition and the two values of a choice; None for anything else."""
    if isinstance(value, tirx.Select):
        return value.condition, value.true_value, value.false_value
    if isinstance(value, tvm.ir.Call) and str(value.op.name).endswith("if_then_else"):
        condition, first, second = value.args
        return condition, first, second
    return None
