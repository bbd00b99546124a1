"""Reading ``relax.quantize`` and ``relax.dequantize`` calls, and giving them one integer type."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import (
    BindingRewriter,
    Constant,
    const,
    const_value,
    dtype_of,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.qparams import QParams
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax


def dequantize_params(call: Call) -> QParams | None:
    """The parameters of a ``dequantize`` call, where they are constants."""
    return _params(call, dtype_of(call.args[0]), shape_of(call.args[0]))


def quantize_params(call: Call) -> QParams | None:
    """The parameters of a ``quantize`` call, where they are constants."""
    return _params(call, str(call.attrs.out_dtype), shape_of(call.args[0]))


def _params(call: Call, dtype: str, shape: tuple[int, ...]) -> QParams | None:
    scale, zero_point = const_value(call.args[1]), const_value(call.args[2])
    if scale is None or zero_point is None or dtype not in ("int8", "uint8", "int32"):
        return None
    scale = scale.astype(np.float32)
    if scale.size == 1:
        zero = zero_point.astype(np.int32).reshape(())
        return QParams(scale.reshape(()), zero, dtype)  # type: ignore[arg-type]
    zero = np.broadcast_to(zero_point.astype(np.int32), scale.shape).copy()
    axis = int(call.attrs.axis) % len(shape)
    return QParams(scale.reshape(-1), zero.reshape(-1), dtype, axis)  # type: ignore[arg-type]


def same_params(a: QParams, b: QParams) -> bool:
    """Whether two tensors' integers mean the same."""
    return a == b


def scalar_params(params: QParams) -> tuple[Any, Any]:
    """Scale and zero point as Relax constants."""
    return const(params.scale), const(params.zero_point)


def has_qdq(mod: Module) -> bool:
    """Whether ``mod`` came with quantization in it, as an imported Q/DQ model does."""
    return any(
        op_name(binding.value) in ("quantize", "dequantize") for binding in main_bindings(mod) or []
    )


def unify_activation_dtype(mod: Module, dtype: str) -> Module:
    """Give every 8-bit activation the type ``dtype``: integers and zero points shift by 128.

    ``uint8`` and ``int8`` tensors of one scale hold the same real values 128 apart. Only tensors
    that go from ``quantize`` to ``dequantize`` change; integers that anything else reads stay.
    """
    return _UnifyActivationDtype(mod, dtype).run()


class _UnifyActivationDtype(BindingRewriter):
    def __init__(self, mod: Module, dtype: str) -> None:
        super().__init__(mod)
        self.dtype = dtype
        self.shift = 128 if dtype == "uint8" else -128
        self.shifted = self.shiftable()

    def shiftable(self) -> set[Var]:
        """8-bit results of ``quantize`` that are read by ``dequantize`` alone."""
        bindings = main_bindings(self.mod) or []
        found = {
            b.var
            for b in bindings
            if op_name(b.value) == "quantize"
            and dtype_of(b.var) in ("int8", "uint8")
            and dtype_of(b.var) != self.dtype
            and quantize_params(b.value) is not None
        }
        for b in bindings:
            allowed = op_name(b.value) == "dequantize"
            for var in relax.analysis.free_vars(b.value):
                if var in found and not allowed:
                    found.discard(var)
        for var in relax.analysis.free_vars(self.mod["main"].body.body):
            found.discard(var)
        return found

    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        if name == "quantize" and var in self.shifted:
            scale, zero_point = value.args[1], self.zero_point(value.args[2])
            data = self.substitute(value.args[0])
            return self.emit(
                relax.op.quantize(data, scale, zero_point, value.attrs.axis, self.dtype), var.name
            )
        if (
            name == "dequantize"
            and not isinstance(value.args[0], Constant)
            and (value.args[0] in self.shifted)
        ):
            scale, zero_point = value.args[1], self.zero_point(value.args[2])
            data = self.substitute(value.args[0])
            return self.emit(
                relax.op.dequantize(data, scale, zero_point, value.attrs.axis), var.name
            )
        return super().rewrite(var, value)

    def zero_point(self, expr: Expr) -> Expr:
        value = const_value(expr)
        assert value is not None
        return const((value.astype(np.int32) + self.shift).astype(np.int32))
