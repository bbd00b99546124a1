"""The forms in which kernels for a GPU want what they multiply by.

1. A constant matrix lies by column: what a product goes along is contiguous in both factors, which
   8-bit tensor instructions need and 16-bit ones like.
2. A depthwise weight has its channels last, as the data: neighbouring threads compute neighbouring
   channels.
3. A border of another value than 0 (the zero point) is part of the convolution that reads it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.passes.operator_kinds import CONVOLUTIONS
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const,
    const_value,
    consumers,
    dtype_of,
    main_bindings,
    op_name,
    shape_of,
    with_attributes,
)
from tvmcomp.schedules.anchor import element
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax, te, topi = tvm.relax, tvm.te, tvm.topi


def gpu_forms(mod: Module) -> Module:
    """Apply the rules above to ``mod``."""
    return _GpuForms(mod).run()


class _GpuForms(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.producer = {binding.var: binding.value for binding in main_bindings(mod) or []}
        self.users = consumers(mod)

    def rewrite(self, var: Var, value: Expr) -> Expr:
        weight = const_value(value.args[1]) if op_name(value) in (*CONVOLUTIONS, "matmul") else None
        if weight is None:
            return super().rewrite(var, value)
        if op_name(value) == "matmul":
            if weight.ndim != 2 or 0 in (*weight.shape, *shape_of(value.args[0])):
                return super().rewrite(var, value)
            return self.by_column(var, value, weight)
        border = self.border(value)
        if border is not None:
            return self.with_border(var, value, border)
        if _depthwise(value):
            return self.channels_last(var, value, weight)
        return super().rewrite(var, value)

    def by_column(self, var: Var, call: Call, weight: np.ndarray) -> Expr:
        """Rule 1."""
        depth, columns = weight.shape
        total = dtype_of(call)

        def compute(left: Any, right: Any) -> Any:
            k = te.reduce_axis((0, depth), name="k")

            def value(*i: Any) -> Any:
                *row, column = i
                factors = element(left, *row, k).astype(total), right[column, k].astype(total)
                return te.sum(factors[0] * factors[1], axis=k)

            return te.compute((*left.shape[:-1], columns), value, name="matmul")

        given = self.substitute(call.args[0]), const(weight.T)
        return self.emit(self.kernel(compute, *given, name="matmul"), var.name)

    def channels_last(self, var: Var, call: Call, weight: np.ndarray) -> Expr:
        """Rule 2."""
        layout = str(call.attrs.kernel_layout)
        order = [*range(1, weight.ndim), 0]
        attrs = with_attributes(call.attrs, kernel_layout="".join(layout[i] for i in order))
        given = self.substitute(call.args[0]), const(weight.transpose(order))
        return self.emit(relax.Call(call.op, list(given), attrs), var.name)

    def border(self, call: Call) -> Call | None:
        """The border of a constant around the data of ``call``, that nothing else reads."""
        producer = self.producer.get(call.args[0])
        if producer is None or op_name(producer) != "nn.pad":
            return None
        constant = str(producer.attrs.pad_mode) == "constant"
        return producer if constant and len(self.users[call.args[0]]) == 1 else None

    def with_border(self, var: Var, call: Call, border: Call) -> Expr:
        """Rule 3."""
        attrs = call.attrs
        widths = [int(width) for width in border.attrs.pad_width]
        value = float(border.attrs.pad_value)

        def compute(data: Any, weight: Any) -> Any:
            fill = tvm.tirx.const(value if "float" in str(data.dtype) else int(value), data.dtype)
            whole = topi.nn.pad(data, widths[::2], widths[1::2], fill)
            return topi.nn.conv(
                whole,
                weight,
                [int(n) for n in attrs.strides],
                [int(n) for n in attrs.padding],
                [int(n) for n in attrs.dilation],
                int(attrs.groups),
                str(attrs.data_layout),
                str(attrs.kernel_layout),
                dtype_of(call),
            )

        given = self.substitute(border.args[0]), self.substitute(call.args[1])
        return self.emit(self.kernel(compute, *given, name="conv"), var.name)

    def kernel(self, compute: Any, *given: Any, name: str) -> Any:
        """A call of a kernel of its own, which what follows can be fused into."""
        pattern = {"op_pattern": int(OpPattern.OUT_FUSABLE)}
        return self.builder.call_te(
            compute, *given, primfunc_name_hint=name, primfunc_attrs=pattern
        )


def _depthwise(call: Call) -> bool:
    channels = shape_of(call.args[0])[-1]
    return int(call.attrs.groups) == channels == shape_of(call)[-1] > 1
