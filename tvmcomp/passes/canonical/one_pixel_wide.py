"""Images that are one pixel wide are rows: kernels take their pixels side by side.

A kernel computes neighbouring pixels of a line together. Where a line is one pixel, as TensorFlow's
converter writes a convolution over time, it would compute them one by one:

    conv2d(x[N, C, L, 1], w[O, C, k, 1])  ->  conv1d(x[N, C, L], w[O, C, k])

What follows element by element works on the row, too. Who needs the image gets it by a reshape, and
where the model itself makes a row of the image, or an image of a row, there is none.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.passes.elementwise import ELEMENT_WISE
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    Constant,
    const,
    const_value,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax
_RESHAPES = frozenset({"reshape", "squeeze", "expand_dims", "flatten"})


def one_pixel_wide(mod: Module) -> Module:
    """Apply the rules above to ``mod``, channels first."""
    return _OnePixelWide(mod).run()


class _OnePixelWide(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.producer = {binding.var: binding.value for binding in main_bindings(mod) or []}
        #: Old variable ``[N, C, L, 1]`` -> the new one ``[N, C, L]``.
        self.rows: dict[Any, Any] = {}

    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        row = None
        if name == "nn.conv2d":
            row = self.convolution(var, value)
        elif name in ELEMENT_WISE:
            row = self.element_wise(var, value)
        elif name in _RESHAPES and value.args[0] in self.rows:
            return self.shaped(self.rows[value.args[0]], shape_of(var), var.name)
        if row is None:
            return super().rewrite(var, value)
        self.rows[var] = row
        return row

    def substitute(self, value: Expr) -> Expr:
        for var in relax.analysis.free_vars(value):
            row = self.rows.get(var)
            if row is not None and self.env[var] is row:
                self.env[var] = self.shaped(row, shape_of(var), f"{var.name}_image")
        return super().substitute(value)

    def shaped(self, expr: Expr, shape: tuple[int, ...], name: str) -> Expr:
        """``expr`` of the new function in ``shape``."""
        if shape_of(expr) == shape:
            return expr
        return self.emit(relax.op.reshape(expr, shape), name)

    def row(self, var: Var) -> Expr:
        """What is ``var``, of the old function, without its last axis, which is one element."""
        if var not in self.rows:
            made: Any = self.producer.get(var)
            shape = shape_of(var)[:-1]
            if op_name(made) == "permute_dims" and made.attrs.axes is not None:
                order = [int(axis) % len(shape_of(var)) for axis in made.attrs.axes]
                source = self.without(made.args[0], order[-1])
                left = [axis - (axis > order[-1]) for axis in order[:-1]]
                row = self.emit(relax.op.permute_dims(source, left), f"{var.name}_row")
            else:
                row = self.shaped(super().substitute(var), shape, f"{var.name}_row")
            self.rows[var] = row
        return self.rows[var]

    def without(self, expr: Expr, axis: int) -> Expr:
        """``expr``, of the old function, without an axis of one element."""
        shape = shape_of(expr)
        shape = (*shape[:axis], *shape[axis + 1 :])
        made: Any = self.producer.get(expr) if isinstance(expr, relax.Var) else None
        if op_name(made) in _RESHAPES and shape_of(made.args[0]) == shape:
            return self.substitute(made.args[0])
        return self.shaped(self.substitute(expr), shape, "row")

    # Rules: each gives the row, or None for the image.

    def convolution(self, var: Var, call: Call) -> Expr | None:
        data, weight = call.args
        attrs = call.attrs
        _, _, length, width = shape_of(data)
        top, left, bottom, right = (int(size) for size in attrs.padding)
        layouts = str(attrs.data_layout), str(attrs.kernel_layout)
        if layouts != ("NCHW", "OIHW") or (width, left, right) != (1, 0, 0) or length == 1:
            return None
        if not isinstance(data, relax.Var):
            return None
        value = const_value(weight)
        taps = (
            self.shaped(self.substitute(weight), shape_of(weight)[:-1], f"{var.name}_taps")
            if value is None
            else const(value[..., 0])
        )
        conv = relax.op.nn.conv1d(
            self.row(data),
            taps,
            strides=attrs.strides[0],
            padding=[top, bottom],
            dilation=attrs.dilation[0],
            groups=attrs.groups,
            data_layout="NCW",
            kernel_layout="OIW",
            out_dtype=attrs.out_dtype,
        )
        return self.emit(conv, var.name)

    def element_wise(self, var: Var, call: Call) -> Expr | None:
        tensors = [arg for arg in call.args if isinstance(arg, relax.Var | Constant)]
        shape = shape_of(var)
        if len(shape) != 4 or shape[-1] != 1 or not any(arg in self.rows for arg in tensors):
            return None  # What is broadcast over a line makes an image of it.
        args = []
        for arg in call.args:
            value = const_value(arg)
            if value is not None:
                args.append(const(value[..., 0]) if value.ndim else arg)
            elif arg not in tensors or not shape_of(arg):
                args.append(self.substitute(arg))
            elif len(shape_of(arg)) == len(shape):
                args.append(self.row(arg))
            else:
                return None  # Broadcasting a variable of lower rank: rare.
        return self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), var.name)
