"""Recognize normalizations that exporters write out as a chain of simple operators.

``(x - mean(x)) / sqrt(mean((x - mean(x))^2) + e)`` over the same axes becomes ``nn.layer_norm``,
with a following scale and shift by constants of the normalized shape; over a ``[N, groups, -1]``
view of an image it becomes ``nn.group_norm``. One operator is one kernel, and the quantizer leaves
it whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import (
    BindingRewriter,
    const,
    const_value,
    consumers,
    op_name,
    shape_of,
    with_attributes,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Module, Var

relax = tvm.relax


@dataclass(frozen=True)
class _Normalized:
    """``data`` normalized over ``axes``."""

    data: Expr
    axes: tuple[int, ...]
    epsilon: float


def fuse_normalization(mod: Module) -> Module:
    """Replace written-out normalizations of ``mod``; float32, in any layout."""
    return _FuseNormalization(mod).run()


class _FuseNormalization(BindingRewriter):
    def __init__(self, mod: Module) -> None:
        super().__init__(mod)
        self.users = consumers(mod)

    def rewrite(self, var: Var, value: Expr) -> Expr:
        call = self.substitute(value)
        name = op_name(call)
        new = None
        if name in ("multiply", "divide"):
            found = self.normalized(call)
            new = _layer_norm(found) if found else self.scaled(value, call)
        elif name == "add":
            new = self.shifted(value, call)
        elif name == "reshape":
            new = self.group_norm(call)
        return self.emit(new if new is not None else call, var.name)

    def producer(self, expr: Expr, *names: str) -> Expr | None:
        """The call of one of ``names`` that computes ``expr`` in the new function."""
        call = self.builder.lookup_binding(expr) if isinstance(expr, relax.Var) else None
        return call if call is not None and op_name(call) in names else None

    # The chain, from its last operator backwards.

    def normalized(self, call: Call) -> _Normalized | None:
        left, right = call.args
        if op_name(call) == "divide":
            root = self.producer(right, "sqrt")
            return self.by_variance(left, root.args[0]) if root is not None else None
        for centred, factor in ((left, right), (right, left)):
            variance = self.under_reciprocal_root(factor)
            found = self.by_variance(centred, variance) if variance is not None else None
            if found:
                return found
        return None

    def under_reciprocal_root(self, factor: Any) -> Any | None:
        """``v`` where ``factor`` is ``rsqrt(v)`` or ``1 / sqrt(v)``."""
        root = self.producer(factor, "rsqrt")
        if root is not None:
            return root.args[0]
        division = self.producer(factor, "divide")
        if division is None or _number(division.args[0]) != 1:
            return None
        root = self.producer(division.args[1], "sqrt")
        return root.args[0] if root is not None else None

    def by_variance(self, centred: Any, stabilized: Any) -> _Normalized | None:
        """``centred = x - mean(x)``, ``stabilized = mean(centred^2) + epsilon``."""
        total = self.producer(stabilized, "add")
        difference = self.producer(centred, "subtract")
        if total is None or difference is None:
            return None
        for squares, small in ((total.args[0], total.args[1]), (total.args[1], total.args[0])):
            epsilon, mean_square = _number(small), self.producer(squares, "mean")
            if epsilon is None or mean_square is None:
                continue
            mean = self.producer(difference.args[1], "mean")
            axes = _axes(mean_square)
            data = difference.args[0]
            if (
                mean is not None
                and axes
                and axes == _axes(mean)
                and mean.args[0].same_as(data)
                and self.is_square(mean_square.args[0], centred)
            ):
                return _Normalized(data, axes, epsilon)
        return None

    def is_square(self, expr: Expr, of: Any) -> bool:
        call = self.producer(expr, "multiply", "power", "square")
        if call is None or not self.is_same_difference(call.args[0], of):
            return False
        if op_name(call) == "power":
            return _number(call.args[1]) == 2
        return op_name(call) == "square" or bool(call.args[1].same_as(call.args[0]))

    def is_same_difference(self, a: Any, b: Any) -> bool:
        """Whether ``a`` is ``b``, or the same subtraction: some exporters write it twice."""
        if a.same_as(b):
            return True
        one, other = self.producer(a, "subtract"), self.producer(b, "subtract")
        if one is None or other is None:
            return False
        return all(x.same_as(y) for x, y in zip(one.args, other.args, strict=True))

    # What follows it.

    def scaled(self, old: Any, call: Call) -> Expr | None:
        """Scale by a constant: the normalization's gamma."""
        return self.absorbed(old, call, "scale", 1)

    def shifted(self, old: Any, call: Call) -> Expr | None:
        """Shift by a constant: its beta."""
        return self.absorbed(old, call, "center", 2)

    def absorbed(self, old: Any, call: Call, flag: str, position: int) -> Expr | None:
        if op_name(call) == "divide":
            return None
        pairs = ((0, 1), (1, 0))
        for normal, factor in pairs:
            norm = self.producer(call.args[normal], "nn.layer_norm")
            value = const_value(call.args[factor])
            if norm is None or value is None or len(self.users[old.args[normal]]) != 1:
                continue
            # A shift before a scale would be scaled too.
            done = norm.attrs.center or (flag == "scale" and norm.attrs.scale)
            wanted = shape_of(norm.args[1])
            if done or not _is_trailing(norm) or not _is_along(value.shape, wanted, norm):
                continue
            args = list(norm.args)
            args[position] = const(value.reshape(wanted))
            return relax.Call(norm.op, args, with_attributes(norm.attrs, **{flag: True}))
        return None

    def group_norm(self, call: Call) -> Expr | None:
        """``reshape(layer_norm(reshape(x, [N, groups, -1])), shape of x)``."""
        norm = self.producer(self.without_identity(call.args[0]), "nn.layer_norm")
        view = self.producer(norm.args[0], "reshape") if norm is not None else None
        if norm is None or view is None or norm.attrs.scale or norm.attrs.center:
            return None
        shape, grouped = shape_of(view.args[0]), shape_of(view)
        axes = [int(axis) % len(grouped) for axis in norm.attrs.axes]
        new_shape = tuple(int(dim) for dim in call.args[1].values)
        if len(grouped) != 3 or axes != [2] or new_shape != shape or len(shape) < 3:
            return None
        if shape[0] != grouped[0] or shape[1] % grouped[1]:
            return None
        ones, zeros = np.ones(shape[1], np.float32), np.zeros(shape[1], np.float32)
        return relax.op.nn.group_norm(
            view.args[0],
            const(ones),
            const(zeros),
            num_groups=grouped[1],
            channel_axis=1,
            axes=list(range(2, len(shape))),
            epsilon=float(norm.attrs.epsilon),
            center=False,
            scale=False,
        )

    def without_identity(self, expr: Expr) -> Expr:
        """``expr`` without a scale by ones and a shift by zeros, which exporters write."""
        for name, neutral in (("add", 0), ("multiply", 1)):
            call = self.producer(expr, name)
            if call is None or shape_of(call.args[0]) != shape_of(expr):
                continue
            value = const_value(call.args[1])
            if value is not None and (value == neutral).all():
                expr = call.args[0]
        return expr


def _layer_norm(found: _Normalized) -> Any:
    shape = [shape_of(found.data)[axis] for axis in found.axes]
    return relax.op.nn.layer_norm(
        found.data,
        const(np.ones(shape, np.float32)),
        const(np.zeros(shape, np.float32)),
        list(found.axes),
        found.epsilon,
        center=False,
        scale=False,
    )


def _axes(mean: Any) -> tuple[int, ...]:
    """The axes of a ``mean`` that keeps its dimensions and has float32; else none."""
    rank = len(shape_of(mean.args[0]))
    if mean.attrs.axis is None or not mean.attrs.keepdims:
        return ()
    if str(mean.args[0].ty.dtype) != "float32":
        return ()
    return tuple(sorted(int(axis) % rank for axis in mean.attrs.axis))


def _is_trailing(norm: Any) -> bool:
    rank = len(shape_of(norm.args[0]))
    axes = [int(axis) % rank for axis in norm.attrs.axes]
    return axes == list(range(rank - len(axes), rank))


def _is_along(shape: tuple[int, ...], trailing: tuple[int, ...], norm: Any) -> bool:
    """Whether a factor of ``shape`` varies along the axes ``trailing``, the last ones, alone."""
    if len(shape) > len(shape_of(norm.args[0])):  # it adds axes
        return False
    whole = (1,) * (len(trailing) - len(shape)) + shape
    along = len(whole) - len(trailing)
    return whole[along:] == trailing and all(size == 1 for size in whole[:along])


def _number(expr: Expr) -> float | None:
    """The number in a constant of one element."""
    value = const_value(expr)
    return float(value.reshape(())) if value is not None and value.size == 1 else None
