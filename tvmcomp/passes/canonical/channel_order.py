"""Fold the order of channels into neighbouring weights.

A tensor of the old function is a tensor of the new one and an *order*: old channel ``c`` is new
channel ``order[c]``. Shuffles only change the order, what works channel by channel passes it on
(its constants are put in that order), and a convolution or a matrix product takes its weights in
that order and gives its result in the plain one:

    conv(take(x, order), w)            ->  conv(x, w')
    depthwise(take(x, order), w)       ->  take(depthwise(x, w'), order)
    split(take(concat(a, b), order))   ->  slices of concat(a0, b, a1), whichever order they have

The last is what makes shuffle units free: each part that a split takes lies in one piece. What
follows no rule gets its channels in the plain order, by reshapes where that is a shuffle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.passes.canonical.channel_pieces import parts_in_place
from tvmcomp.passes.canonical.channel_shuffle import pair_of, shuffled
from tvmcomp.passes.elementwise import ELEMENT_WISE
from tvmcomp.passes.operator_kinds import CONVOLUTIONS
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
Order = np.ndarray
#: Slices of an image instead of a split from this rank on.
_IMAGE = 4


def channel_order(mod: Module) -> Module:
    """Apply the rules above to ``mod``, channels last."""
    return _ChannelOrder(mod).run()


class _ChannelOrder(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.producer = {binding.var: binding.value for binding in main_bindings(mod) or []}
        #: Old variable -> the order of its channels; what is missing has the plain order.
        self.orders: dict[Any, Order] = {}
        #: Joins along the channels, by the new variable: their parts, in the new function.
        self.joined: dict[Any, list[Any]] = {}
        #: (Old variable of a split's data, sections) -> its parts: expressions and orders.
        self.splits: dict[Any, list[tuple[Any, Order]] | None] = {}
        self.rules: dict[str, Callable[[Any, Any], Any | None]] = {
            "take": self.take,
            "concat": self.concat,
            "matmul": self.matmul,
            "reshape": self.reshape,
            **dict.fromkeys(CONVOLUTIONS, self.convolution),
            **dict.fromkeys(ELEMENT_WISE, self.element_wise),
            **dict.fromkeys(("mean", "max", "min", "sum"), self.reduce),
            **dict.fromkeys(("image.resize2d", "nn.pad"), self.channel_by_channel),
        }
        for kind in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"):
            for rank in (1, 2, 3):
                self.rules[f"nn.{kind}{rank}d"] = self.channel_by_channel

    def rewrite(self, var: Var, value: Expr) -> Expr:
        if isinstance(value, relax.TupleGetItem):
            part = self.part(var, value)
            return super().rewrite(var, value) if part is None else part
        rule = self.rules.get(op_name(value) or "")
        free = relax.analysis.free_vars(value)
        if rule is not None and (
            op_name(value) in ("take", "concat") or any(each in self.orders for each in free)
        ):
            new = rule(var, value)
            if new is not None:
                return new
        return self.emit(self.plainly(value), var.name)

    def result(self, output: Expr) -> Expr:
        return self.plainly(output)

    def plainly(self, value: Expr) -> Expr:
        """``value`` on operands in the plain order."""
        held = {var: self.env[var] for var in relax.analysis.free_vars(value) if var in self.orders}
        for var in held:
            self.env[var] = self.plain(var)
        new = self.substitute(value)
        self.env.update(held)
        return new

    def plain(self, var: Var) -> Any:
        """``var`` with its channels in the plain order."""
        new, order = self.env[var], self.orders[var]
        axis, pair = len(shape_of(var)) - 1, pair_of(order)
        if pair is not None:
            return shuffled(self.emit, new, axis, pair, var.name)
        return self.emit(relax.op.take(new, const(order), axis), f"{var.name}_in_order")

    def order(self, expr: Expr) -> Order | None:
        return self.orders.get(expr) if isinstance(expr, relax.Var) else None

    def give(self, var: Var, new: Expr, order: Order | None) -> Any:
        """``new`` for ``var``, with its channels in ``order``."""
        if order is not None and not np.array_equal(order, np.arange(len(order))):
            self.orders[var] = order
        return new

    # Rules: each gives the new expression, or None for operands in the plain order.

    def take(self, var: Var, call: Call) -> Any | None:
        data, indices = call.args[0], const_value(call.args[1])
        shape = shape_of(var)
        if indices is None or call.attrs.axis is None or shape_of(data) != shape:
            return None
        axis = int(call.attrs.axis) % len(shape)
        if indices.ndim != 1 or not np.array_equal(np.sort(indices), np.arange(shape[axis])):
            return None
        if axis != len(shape) - 1:
            pair = pair_of(indices)
            moved = self.plainly(data)
            return None if pair is None else shuffled(self.emit, moved, axis, pair, var.name)
        before = self.order(data)
        order = indices if before is None else before[indices]
        return self.give(var, self.substitute(data), order.astype(np.int64))

    def concat(self, var: Var, call: Call) -> Any | None:
        fields = list(call.args[0].fields) if isinstance(call.args[0], relax.Tuple) else []
        rank = len(shape_of(var))
        if not fields or call.attrs.axis is None or int(call.attrs.axis) % rank != rank - 1:
            return None
        begin, orders = 0, []
        for each in fields:
            size = shape_of(each)[-1]
            own = self.order(each)
            orders.append(begin + (np.arange(size) if own is None else own))
            begin += size
        new = self.emit(self.substitute(call), var.name)
        self.joined[new] = [self.substitute(each) for each in fields]
        return self.give(var, new, np.concatenate(orders))

    def convolution(self, var: Var, call: Call) -> Any | None:
        weight, groups = const_value(call.args[1]), int(call.attrs.groups)
        order = self.order(call.args[0])
        if weight is None or order is None or not str(call.attrs.data_layout).endswith("C"):
            return None
        back = np.argsort(order)
        data = self.substitute(call.args[0])
        if groups == 1:
            args = [data, const(weight[..., back])]
            return self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), var.name)
        if groups != len(order) or len(weight) != groups:
            return None
        args = [data, const(weight[back])]
        new = self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), var.name)
        return self.give(var, new, order)

    def matmul(self, var: Var, call: Call) -> Any | None:
        weight, order = const_value(call.args[1]), self.order(call.args[0])
        if weight is None or weight.ndim != 2 or order is None:
            return None
        args = [self.substitute(call.args[0]), const(weight[np.argsort(order)])]
        return self.emit(relax.Call(call.op, args, call.attrs, call.ty_args), var.name)

    def reshape(self, var: Var, call: Call) -> Any | None:
        data, order = call.args[0], self.order(call.args[0])
        if order is None or shape_of(var)[-1:] != shape_of(data)[-1:]:
            return None
        return self.give(var, self.emit(self.substitute(call), var.name), order)

    def channel_by_channel(self, var: Var, call: Call) -> Any | None:
        data = call.args[0]
        layout = getattr(call.attrs, "layout", None)
        if layout is not None and not str(layout).endswith("C"):
            return None
        if op_name(call) == "nn.pad" and any(int(width) for width in call.attrs.pad_width[-2:]):
            return None
        return self.give(var, self.emit(self.substitute(call), var.name), self.order(data))

    def reduce(self, var: Var, call: Call) -> Any | None:
        rank = len(shape_of(call.args[0]))
        axes = call.attrs.axis
        if axes is None or rank - 1 in [int(axis) % rank for axis in axes]:
            return None
        new = self.emit(self.substitute(call), var.name)
        return self.give(var, new, self.order(call.args[0]))

    def element_wise(self, var: Var, call: Call) -> Any | None:
        shape = shape_of(var)
        orders = [self.order(arg) for arg in call.args if isinstance(arg, relax.Var)]
        order = next(each for each in orders if each is not None)
        back = np.argsort(order)
        args = []
        for arg in call.args:
            value = const_value(arg)
            if isinstance(arg, relax.Var):
                own = self.order(arg)
                if own is None and shape_of(arg)[-1:] not in ((), (1,)):
                    return None
                if own is not None and not np.array_equal(own, order):
                    return None
                args.append(self.substitute(arg))
            elif value is not None and value.shape[-1:] == shape[-1:] and value.shape[-1] > 1:
                args.append(const(value[..., back]))
            else:
                args.append(self.substitute(arg) if isinstance(arg, Constant) else arg)
        new = relax.Call(call.op, args, call.attrs, call.ty_args)
        return self.give(var, self.emit(new, var.name), order)

    # Splits.

    def part(self, var: Var, item: Any) -> Any | None:
        """One part of a split along the channels of an image, as a slice."""
        split = self.producer.get(item.tuple_value)
        if split is None or op_name(split) != "split":
            return None
        data = split.args[0]
        rank = len(shape_of(data))
        if rank < _IMAGE or int(split.attrs.axis) % rank != rank - 1:
            return None
        if item.tuple_value not in self.splits:
            sizes = [int(kind.shape[-1]) for kind in item.tuple_value.ty.fields]
            new = self.env[data]
            order = self.orders.get(data, np.arange(shape_of(data)[-1]))
            fields = self.joined.get(new, [new])
            self.splits[item.tuple_value] = parts_in_place(
                self.emit, new, fields, order, sizes, data.name
            )
        parts = self.splits[item.tuple_value]
        if parts is None:
            return None
        new, order = parts[int(item.index)]
        return self.give(var, new, order)
