"""Channel shuffles as one operator: a ``take`` of all channels in another order.

    reshape(permute(reshape(x, [N, g, C/g, H, W]), [0, 2, 1, 3, 4]), [N, C, H, W])
        ->  take(x, [0, C/g, 2C/g, …, 1, …], axis=1)

In this form the layout pass can move it, and :mod:`~tvmcomp.passes.canonical.channel_order` can
fold it into weights. What stays becomes reshapes again there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import (
    BindingRewriter,
    calls_any,
    const,
    main_bindings,
    op_name,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax
#: Binds an expression to a variable of a name.
Emit = Callable[[Any, str], Any]


def channel_shuffles(mod: Module) -> Module:
    """Apply the rule above to ``mod``, in any layout."""
    return _ChannelShuffles(mod).run() if calls_any(mod, ["permute_dims"]) else mod


def order_of_shuffle(groups: int, each: int) -> np.ndarray:
    """Where the channels come from that a shuffle of ``groups`` of ``each`` channels gives."""
    return np.arange(groups * each).reshape(groups, each).T.reshape(-1)


def pair_of(order: np.ndarray) -> tuple[int, int] | None:
    """The groups and channels a group of the shuffle that gives ``order``; None where none does."""
    each = int(order[1]) if len(order) > 1 else 1
    for size in (each, len(order) // max(each, 1)):
        if size and len(order) % size == 0:
            pair = (len(order) // size, size)
            if np.array_equal(order, order_of_shuffle(*pair)):
                return pair
    return None


def shuffled(emit: Emit, data: Expr, axis: int, pair: tuple[int, int], name: str) -> Any:
    """The shuffle of ``pair``, groups and channels a group, along ``axis``: as reshapes again."""
    shape = shape_of(data)
    apart = emit(
        relax.op.reshape(data, [*shape[:axis], *pair, *shape[axis + 1 :]]), f"{name}_apart"
    )
    axes = [*range(axis), axis + 1, axis, *range(axis + 2, len(shape) + 1)]
    moved = emit(relax.op.permute_dims(apart, axes), f"{name}_moved")
    return emit(relax.op.reshape(moved, list(shape)), f"{name}_in_order")


class _ChannelShuffles(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.producer = {binding.var: binding.value for binding in main_bindings(mod) or []}

    def rewrite(self, var: Var, value: Expr) -> Expr:
        found = self.shuffle(var, value) if op_name(value) == "reshape" else None
        return super().rewrite(var, value) if found is None else found

    def shuffle(self, var: Var, merged: Call) -> Expr | None:
        moved = self.producer.get(merged.args[0])
        if moved is None or op_name(moved) != "permute_dims":
            return None
        apart = self.producer.get(moved.args[0])
        if apart is None or op_name(apart) != "reshape":
            return None
        data = apart.args[0]
        shape, split = shape_of(data), shape_of(moved.args[0])
        axes = moved.attrs.axes
        order = [int(axis) for axis in axes] if axes is not None else [*range(len(split))][::-1]
        if shape_of(var) != shape or len(split) != len(shape) + 1:
            return None
        for axis in range(1, len(shape)):
            pair = split[axis : axis + 2]
            swapped = [*range(axis), axis + 1, axis, *range(axis + 2, len(split))]
            same = split[:axis] == shape[:axis] and split[axis + 2 :] == shape[axis + 1 :]
            if same and order == swapped:
                indices = const(order_of_shuffle(*pair).astype(np.int64))
                return self.emit(relax.op.take(self.substitute(data), indices, axis), var.name)
        return None
