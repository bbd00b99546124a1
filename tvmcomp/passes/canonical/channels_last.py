"""Make NHWC the layout of every image-like activation: channels last, weights ``O…I``.

Each tensor of rank 3 to 5 is known in one or both of two forms: ``plain``, as the source model has
it (NCHW), and ``last``, with its channels moved last (NHWC). An operator takes its inputs in the
form that suits it and gives its output in that form; a transpose is emitted only where a form is
asked for that does not exist yet, so between convolutions there is none. What has no rule asks for
the plain form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvmcomp.passes.canonical import transposed_conv
from tvmcomp.passes.canonical.two_forms import Forms, TwoForms, name_of, to_last, to_plain
from tvmcomp.passes.elementwise import ELEMENT_WISE
from tvmcomp.passes.rewriter import (
    Constant,
    const,
    const_value,
    op_name,
    shape_of,
    with_attributes,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax
_CHANNELS_LAST = {3: "NWC", 4: "NHWC", 5: "NDHWC"}
_KERNEL_LAST = {3: "OWI", 4: "OHWI", 5: "ODHWI"}


def channels_last(mod: Module) -> Module:
    """Convert ``mod`` to NHWC; inputs and outputs of ``main`` keep their layout."""
    return _ChannelsLast(mod).run()


class _ChannelsLast(TwoForms):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.rules: dict[str, Callable[[Any, Any, str], Forms | None]] = {
            "nn.conv1d": self.convolution,
            "nn.conv2d": self.convolution,
            "nn.conv3d": self.convolution,
            "nn.conv1d_transpose": self.transposed_convolution,
            "nn.conv2d_transpose": self.transposed_convolution,
            "nn.conv3d_transpose": self.transposed_convolution,
            "image.resize2d": self.layout_attribute,
            "concat": self.concat,
            "nn.group_norm": self.group_norm,
            "nn.layer_norm": self.layer_norm,
            "nn.pad": self.pad,
            "permute_dims": self.permute,
            "reshape": self.reshape,
            "quantize": self.quantize,
            "dequantize": self.quantize,
            "split": self.split,
            "strided_slice": self.plain_unless_last,
            "take": self.take,
        }
        for name in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"):
            for dims in (1, 2, 3):
                self.rules[f"nn.{name}{dims}d"] = self.layout_attribute
        for name in ("mean", "sum", "max", "min"):
            self.rules[name] = self.reduce
        for name in ("nn.softmax", "nn.log_softmax"):
            self.rules[name] = self.axis_attribute
        for name in ELEMENT_WISE:
            self.rules[name] = self.element_wise

    def rewrite(self, var: Var, value: Expr) -> Expr:
        name = op_name(value)
        rule = self.rules.get(name) if name else None
        forms = rule(var, value, var.name) if rule else None
        if isinstance(value, relax.TupleGetItem):
            forms = self.item(var, value)
        if forms is None:
            return super().rewrite(var, value)
        self.forms[var] = forms
        return forms.plain

    # Rules: each gives the forms of the output, or None for the plain treatment.

    def convolution(self, var: Var, call: Call, name: str) -> Forms | None:
        data, weight = call.args
        attrs = call.attrs
        rank = len(shape_of(data))
        if not str(attrs.data_layout).startswith("NC") or not str(attrs.kernel_layout).startswith(
            "OI"
        ):
            return None
        operator = getattr(relax.op.nn, f"conv{rank - 2}d")
        out = operator(
            self.last(data),
            self.permuted(self.plain(weight), to_last(rank), name_of(weight)),
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            groups=attrs.groups,
            data_layout=_CHANNELS_LAST[rank],
            kernel_layout=_KERNEL_LAST[rank],
            out_dtype=attrs.out_dtype,
        )
        return Forms(last=self.emit(out, name))

    def transposed_convolution(self, var: Var, call: Call, name: str) -> Forms | None:
        if not transposed_conv.applies(call.attrs):
            return None
        data, weight = self.last(call.args[0]), self.plain(call.args[1])
        extents = shape_of(var)[2:]
        stored = self.builder.lookup_binding(weight) if isinstance(weight, relax.Var) else None
        return Forms(
            last=transposed_conv.subpixel(
                self.emit, data, weight, call.attrs, extents, name, stored
            )
        )

    def layout_attribute(self, var: Var, call: Call, name: str) -> Forms | None:
        rank = len(shape_of(call.args[0]))
        if not str(call.attrs.layout).startswith("NC"):
            return None
        layout = _CHANNELS_LAST[rank]
        attrs = with_attributes(call.attrs, layout=layout, out_layout=layout)
        args = [self.last(call.args[0]), *call.args[1:]]
        return Forms(last=self.emit(relax.Call(call.op, args, attrs), name))

    def element_wise(self, var: Var, call: Call, name: str) -> Forms | None:
        tensors = [arg for arg in call.args if isinstance(arg, relax.Var | Constant)]
        rank = len(shape_of(var))
        full = [arg for arg in tensors if len(shape_of(arg)) == rank]
        if not any(self.prefers_last(arg) for arg in full if isinstance(arg, relax.Var)):
            return None
        args = []
        for arg in call.args:
            if arg in full:
                args.append(self.last(arg))
            elif arg in tensors and shape_of(arg):
                value = const_value(arg)
                if value is None:
                    return None  # Broadcasting a variable of lower rank: rare, left plain.
                whole = value.reshape((1,) * (rank - value.ndim) + value.shape)
                args.append(const(whole.transpose(to_last(rank))))
            else:  # A 0-d tensor, or no tensor at all.
                args.append(self.substitute(arg))
        return Forms(last=self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), name))

    def quantize(self, var: Var, call: Call, name: str) -> Forms | None:
        data, scale, zero_point = call.args
        if isinstance(data, Constant) or not self.prefers_last(data):
            return None
        axis = to_last(len(shape_of(data))).index(call.attrs.axis % len(shape_of(data)))
        operator = getattr(relax.op, op_name(call) or "")
        factors = self.substitute(scale), self.substitute(zero_point)
        out = operator(self.last(data), *factors, axis, call.attrs.out_dtype)
        return Forms(last=self.emit(out, name))

    def concat(self, var: Var, call: Call, name: str) -> Forms | None:
        fields = list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else []
        if not any(self.prefers_last(field) for field in fields):
            return None
        rank = len(shape_of(var))
        axis = to_last(rank).index(int(call.attrs.axis) % rank)
        return Forms(
            last=self.emit(relax.op.concat([self.last(field) for field in fields], axis), name)
        )

    def pad(self, var: Var, call: Call, name: str) -> Forms | None:
        if not self.prefers_last(call.args[0]):
            return None
        rank = len(shape_of(var))
        width = [int(size) for size in call.attrs.pad_width]
        moved = [size for axis in to_last(rank) for size in width[2 * axis : 2 * axis + 2]]
        attrs = with_attributes(call.attrs, pad_width=moved)
        args = [self.last(call.args[0]), *call.args[1:]]
        return Forms(last=self.emit(relax.Call(call.op, args, attrs), name))

    def reduce(self, var: Var, call: Call, name: str) -> Forms | None:
        data = call.args[0]
        if not self.prefers_last(data) or call.attrs.axis is None:
            return None
        rank = len(shape_of(data))
        axes = [int(axis) % rank for axis in call.attrs.axis]
        # Without its batch or its channels the result is no image.
        if not call.attrs.keepdims and not {0, 1}.isdisjoint(axes):
            return None
        moved = [to_last(rank).index(axis) for axis in axes]
        operator = getattr(relax.op, op_name(call) or "")
        out = self.emit(operator(self.last(data), sorted(moved), call.attrs.keepdims), name)
        if call.attrs.keepdims:
            return Forms(last=out)
        return Forms(plain=out) if len(shape_of(var)) == 2 else Forms(last=out)

    def axis_attribute(self, var: Var, call: Call, name: str) -> Forms | None:
        data = call.args[0]
        if not self.prefers_last(data):
            return None
        rank = len(shape_of(data))
        attrs = with_attributes(call.attrs, axis=to_last(rank).index(int(call.attrs.axis) % rank))
        return Forms(last=self.emit(relax.Call(call.op, [self.last(data)], attrs), name))

    def layer_norm(self, var: Var, call: Call, name: str) -> Forms | None:
        """Its axes are mapped; factors of the shape of axes that change order are left alone."""
        data, *factors = call.args
        if not self.prefers_last(data):
            return None
        rank = len(shape_of(data))
        axes = sorted(int(axis) % rank for axis in call.attrs.axes)
        moved = [to_last(rank).index(axis) for axis in axes]
        trailing = list(range(rank - len(axes), rank))
        if moved != sorted(moved) or (axes == trailing and moved != trailing):
            return None  # Tokens: what follows is a product with the channels last as they are.
        attrs = with_attributes(call.attrs, axes=moved)
        args = [self.last(data), *(self.plain(factor) for factor in factors)]
        return Forms(last=self.emit(relax.Call(call.op, args, attrs), name))

    def group_norm(self, var: Var, call: Call, name: str) -> Forms | None:
        """The spatial axes precede the channels."""
        data, *factors = call.args
        rank = len(shape_of(data))
        spatial = [int(axis) % rank for axis in call.attrs.axes] == list(range(2, rank))
        if not self.prefers_last(data) or int(call.attrs.channel_axis) % rank != 1 or not spatial:
            return None
        attrs = with_attributes(call.attrs, channel_axis=rank - 1, axes=list(range(1, rank - 1)))
        args = [self.last(data), *(self.plain(factor) for factor in factors)]
        return Forms(last=self.emit(relax.Call(call.op, args, attrs), name))

    def plain_unless_last(self, var: Var, call: Call, name: str) -> Forms | None:
        """``strided_slice``: its axes are mapped."""
        data, axes, *rest = call.args
        rank = len(shape_of(data))
        if not self.prefers_last(data) or not isinstance(axes, relax.Tuple):
            return None
        mapped = [to_last(rank).index(int(axis) % rank) for axis in axes.fields]
        moved = relax.Tuple([tvm.tirx.IntImm("int64", axis) for axis in mapped])
        args = [self.last(data), moved, *rest]
        return Forms(last=self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), name))

    def take(self, var: Var, call: Call, name: str) -> Forms | None:
        """A shuffle of one axis: constant indices, as many as there are."""
        data, indices = call.args
        if not self.prefers_last(data) or const_value(indices) is None:
            return None
        if call.attrs.axis is None or shape_of(data) != shape_of(var):
            return None
        rank = len(shape_of(var))
        attrs = with_attributes(call.attrs, axis=to_last(rank).index(int(call.attrs.axis) % rank))
        out = relax.Call(call.op, [self.last(data), indices], attrs)
        return Forms(last=self.emit(out, name))

    def split(self, var: Var, call: Call, name: str) -> Forms | None:
        """Its parts are what has the form: see :meth:`rewrite`."""
        data = call.args[0]
        rank = len(shape_of(data))
        if not self.prefers_last(data) or not 3 <= rank <= 5:
            return None
        attrs = with_attributes(call.attrs, axis=to_last(rank).index(int(call.attrs.axis) % rank))
        out = relax.Call(call.op, [self.last(data)], attrs)
        return Forms(last=self.emit(out, name))

    def item(self, var: Var, value: Expr) -> Forms | None:
        """A part of a split that has its channels last."""
        split = self.forms.get(value.tuple_value)
        if split is None or split.last is None:
            return None
        item = relax.TupleGetItem(split.last, value.index)
        return Forms(last=self.emit(item, var.name))

    def reshape(self, var: Var, call: Call, name: str) -> Forms | None:
        """Between an image and the run of its pixels."""
        data = call.args[0]
        before, after = shape_of(data), shape_of(var)
        if not 3 <= len(after) <= 5 or before[:2] != after[:2] or not self.prefers_last(data):
            return None
        shape = [after[axis] for axis in to_last(len(after))]
        return Forms(last=self.emit(relax.op.reshape(self.last(data), shape), name))

    def permute(self, var: Var, call: Call, name: str) -> Forms | None:
        """A transpose of the source model: between the two forms it is none at all."""
        data = call.args[0]
        rank = len(shape_of(data))
        axes = call.attrs.axes
        order = [int(a) for a in axes] if axes is not None else list(reversed(range(rank)))
        if rank < 3 or rank > 5:
            return None
        if order == to_last(rank) and self.forms_of(data).last is not None:
            return Forms(plain=self.last(data))
        if order == to_plain(rank):
            return Forms(last=self.plain(data))
        if self.prefers_last(data):
            composed = [to_plain(rank)[axis] for axis in order]
            return Forms(plain=self.permuted(self.last(data), composed, name))
        return None
