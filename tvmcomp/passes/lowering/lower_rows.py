"""Lower softmax, layer normalization and arg-max to stages over shared rows.

TVM's own definitions reduce pairs (which can't be vectorized), divide once an element, or lose
digits; and its fusion takes none of them, where ours take what follows element by element.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.passes.elementwise import EPILOGUE_KERNEL
from tvmcomp.passes.rewriter import BindingRewriter, calls_any, dtype_of, op_name, shape_of
from tvmcomp.schedules.rows.row_compute import arg_extreme, group_norm, layer_norm, softmax
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax


def lower_rows(mod: Module) -> Module:
    """Lower every normalization of ``mod`` that we have a definition of."""
    return _LowerRows(mod).run() if calls_any(mod, _KINDS) else mod


_KINDS = ("nn.softmax", "nn.layer_norm", "nn.group_norm", "argmax", "argmin")


class _LowerRows(BindingRewriter):
    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        if name in _KINDS and _is_plain(value):
            return self.emit(self.lowered(name, self.substitute(value), var.name), var.name)
        return super().rewrite(var, value)

    def lowered(self, kind: str, call: Call, name: str) -> Expr:
        data, attrs = call.args[0], call.attrs
        rank = len(shape_of(data))
        hints = {"primfunc_name_hint": name, "primfunc_attrs": {EPILOGUE_KERNEL: True}}
        if kind == "nn.softmax":
            axis = int(attrs.axis) % rank
            return self.builder.call_te(lambda x: softmax(x, axis), data, **hints)
        if kind in ("nn.layer_norm", "nn.group_norm"):
            factors = [("gamma", attrs.scale, call.args[1]), ("beta", attrs.center, call.args[2])]
            used = {which: tensor for which, use, tensor in factors if use}
            axes = sorted(int(axis) % rank for axis in attrs.axes)

            def compute(x: Expr, *tensors: Any) -> Expr:
                given = dict(zip(used, tensors, strict=True))
                gamma, beta = given.get("gamma"), given.get("beta")
                if kind == "nn.group_norm":
                    return group_norm(x, gamma, beta, int(attrs.num_groups), float(attrs.epsilon))
                return layer_norm(x, gamma, beta, axes, float(attrs.epsilon))

            return self.builder.call_te(compute, data, *used.values(), **hints)
        axis, keepdims = int(attrs.axis) % rank, bool(attrs.keepdims)
        return self.builder.call_te(
            lambda x: arg_extreme(x, axis, keepdims, kind == "argmax"), data, **hints
        )


def _is_plain(call: Call) -> bool:
    """Whether our definition serves: not where float16 would be added up in float16."""
    shape, attrs = shape_of(call.args[0]), call.attrs
    rank = len(shape)
    if 0 in shape or not shape or dtype_of(call.args[0]) == "float16":
        return False
    if op_name(call) == "nn.layer_norm":
        return True
    if op_name(call) == "nn.group_norm":
        axes = [int(axis) % rank for axis in attrs.axes]
        return int(attrs.channel_axis) % rank == rank - 1 and axes == list(range(1, rank - 1))
    return attrs.axis is not None
