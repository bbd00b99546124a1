"""Images that are one pixel wide are rows: kernels take their pixels side by side.

A kernel computes neighbouring pixels of a line together. Where a line is one pixel, as TensorFlow's
converter writes a convolution over time or a spectrum, it would compute them one by one:

    conv2d(x[N, C, L, 1], w[O, C, k, 1])  ->  conv1d(x[N, C, L], w[O, C, k])
    matmul(x[..., L, 1, K], w[K, N])      ->  matmul(x[..., L, K], w[K, N])

What follows element by element works on the row, too. Who needs the image gets it by a reshape, and
where the model itself makes a row of the image, or an image of a row, there is none.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.passes.elementwise import ELEMENT_WISE
from tvmcomp.passes.rewriter import (
    BindingRewriter,
    Constant,
    calls_any,
    const,
    const_value,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax
#: What makes rows.
_FIRST = ("nn.conv2d", "matmul")
_RESHAPES = frozenset({"reshape", "squeeze", "expand_dims", "flatten"})


def one_pixel_wide(mod: Module) -> Module:
    """Apply the rules above to ``mod``, channels first."""
    return _OnePixelWide(mod).run() if calls_any(mod, _FIRST) else mod


class _OnePixelWide(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.producer = {binding.var: binding.value for binding in main_bindings(mod) or []}
        #: Old variable -> the new one without its axis of one pixel.
        self.rows: dict[Any, Any] = {}
        #: Old variable -> that axis, counted from its end.
        self.axes: dict[Any, int] = {}

    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        row = None
        if name == "nn.conv2d":
            row = self.convolution(var, value)
        elif name == "matmul":
            row = self.product(var, value)
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

    def row(self, var: Var, axis: int) -> Expr:
        """What is ``var``, of the old function, without an axis, which is one element.

        The axis is counted from the end.
        """
        if self.axes.get(var) == axis:
            return self.rows[var]
        made: Any = self.producer.get(var)
        shape = shape_of(var)
        if op_name(made) == "permute_dims" and made.attrs.axes is not None:
            order = [int(each) % len(shape) for each in made.attrs.axes]
            gone = order.pop(axis)
            source = self.without(made.args[0], gone)
            left = [each - (each > gone) for each in order]
            row = self.emit(relax.op.permute_dims(source, left), f"{var.name}_row")
        else:
            row = self.shaped(self.substitute(var), _left(shape, axis), f"{var.name}_row")
        if var not in self.rows:
            self.rows[var], self.axes[var] = row, axis
        return row

    def without(self, expr: Expr, axis: int) -> Expr:
        """``expr``, of the old function, without an axis of one element."""
        shape = _left(shape_of(expr), axis)
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
            self.row(data, -1),
            taps,
            strides=attrs.strides[0],
            padding=[top, bottom],
            dilation=attrs.dilation[0],
            groups=attrs.groups,
            data_layout="NCW",
            kernel_layout="OIW",
            out_dtype=attrs.out_dtype,
        )
        self.axes[var] = -1
        return self.emit(conv, var.name)

    def product(self, var: Var, call: Call) -> Expr | None:
        data, weight = call.args
        shape = shape_of(data)
        if len(shape) < 3 or shape[-2] != 1 or shape[-3] == 1 or len(shape_of(weight)) != 2:
            return None
        if not isinstance(data, relax.Var) or const_value(weight) is None:
            return None
        self.axes[var] = -2
        product = relax.op.matmul(self.row(data, -2), weight, out_dtype=call.attrs.out_dtype)
        return self.emit(product, var.name)

    def element_wise(self, var: Var, call: Call) -> Expr | None:
        tensors = [arg for arg in call.args if isinstance(arg, relax.Var | Constant)]
        shape = shape_of(var)
        axis = next((self.axes[arg] for arg in tensors if arg in self.rows), None)
        if axis is None or len(shape) < 3 or shape[axis] != 1:
            return None  # What is broadcast over a line makes an image of it.
        args = []
        for arg in call.args:
            value = const_value(arg)
            if value is not None:
                args.append(const(value.squeeze(axis)) if value.ndim >= -axis else arg)
            elif arg not in tensors or not shape_of(arg):
                args.append(self.substitute(arg))
            elif len(shape_of(arg)) == len(shape):
                args.append(self.row(arg, axis))
            else:
                return None  # Broadcasting a variable of lower rank: rare.
        self.axes[var] = axis
        return self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), var.name)


def _left(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """``shape`` without an axis."""
    sizes = list(shape)
    del sizes[axis]
    return tuple(sizes)
