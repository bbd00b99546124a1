"""Fold what scales or shifts each output channel into the convolution or matrix product before it.

    conv(x, w) * s          -> conv(x, w * s)
    (conv(x, w) + b) * s    -> conv(x, w * s) + b * s
    (conv(x, w) + b) + c    -> conv(x, w) + (b + c)

for constants that are scalar or one value a channel (channels last), where the intermediate has no
other reader. Fewer operators to run, and one range less to quantize.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.passes.operator_kinds import ANCHORS
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    calls_any,
    const,
    const_value,
    consumers,
    op_name,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax
_FOLDABLE = ("add", "multiply", "subtract", "divide")


@dataclass(frozen=True)
class _Affine:
    """An anchor's result so far: ``anchor(data, weight) + bias``."""

    call: Call
    name: str
    weight: np.ndarray
    bias: np.ndarray | None


def fold_scale(mod: Module) -> Module:
    """Apply the rules above to ``mod`` (NHWC)."""
    return _FoldScale(mod).run() if calls_any(mod, ANCHORS) and calls_any(mod, _FOLDABLE) else mod


class _FoldScale(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.users = consumers(mod)
        self.affine: dict[Any, _Affine] = {}

    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        if name in ANCHORS:
            weight = const_value(value.args[1])
            last = getattr(value.attrs, "data_layout", "C")
            if weight is not None and weight.dtype == np.float32 and str(last).endswith("C"):
                self.affine[var] = _Affine(self.substitute(value), var.name, weight, None)
        elif name in _FOLDABLE:
            folded = self.fold(name, value)
            if folded is not None:
                self.affine[var] = folded
        if var not in self.affine:
            return super().rewrite(var, value)
        if self.reader_folds(var):
            return None  # Nothing else reads it; emitting it would take the name.
        return self.emit_affine(self.affine[var])

    def reader_folds(self, var: Var) -> bool:
        """Whether the one reader of ``var`` is folded into it."""
        readers = self.users[var]
        if len(readers) != 1 or readers[0] is None:
            return False
        name = op_name(readers[0].value)
        return name in _FOLDABLE and self.fold(name, readers[0].value) is not None

    def fold(self, name: str, call: Call) -> _Affine | None:
        """``call`` as an affine anchor, where one side is such and the other a channel constant."""
        left, right = call.args
        if left not in self.affine and name in ("add", "multiply"):
            left, right = right, left
        if left not in self.affine or len(self.users[left]) != 1:
            return None
        before = self.affine[left]
        factor = _per_channel(right, shape_of(left))
        if factor is None or factor.dtype != np.float32:
            return None
        if factor.size > 1 and before.weight.ndim < 2:
            return None  # A matrix times a vector has no channels.
        if name in ("add", "subtract"):
            shift = -factor if name == "subtract" else factor
            bias = shift if before.bias is None else before.bias + shift
            return _Affine(before.call, before.name, before.weight, bias)
        with np.errstate(divide="ignore"):
            scale = 1 / factor if name == "divide" else factor
        if not np.isfinite(scale).all():
            return None
        weight = before.weight * (
            scale
            if op_name(before.call) == "matmul"
            else scale.reshape(-1, *(1,) * (before.weight.ndim - 1))
        )
        bias = None if before.bias is None else before.bias * scale
        return _Affine(before.call, before.name, weight.astype(np.float32), bias)

    def emit_affine(self, affine: _Affine) -> Any:
        call = affine.call
        args = [call.args[0], const(affine.weight)]
        out = self.emit(relax.Call(call.op, args, call.attrs), affine.name)
        if affine.bias is None:
            return out
        rank = len(shape_of(out))
        bias = np.broadcast_to(affine.bias, (shape_of(out)[-1],)).astype(np.float32)
        return self.emit(
            relax.op.add(out, const(bias.reshape((1,) * (rank - 1) + (-1,)))),
            f"{affine.name}_bias",
        )


def _per_channel(expr: Expr, shape: tuple[int, ...]) -> np.ndarray | None:
    """A constant that is scalar or varies along the last axis only, as a vector; else None."""
    value = const_value(expr)
    if value is None or value.ndim > len(shape):
        return None
    if value.size == 1:
        return value.reshape(1)
    if value.shape[-1] == shape[-1] == value.size:
        return value.reshape(-1)
    return None
