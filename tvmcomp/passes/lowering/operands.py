"""Where the operand of a matrix product comes from: through what moves or scales it, to its source.

Heads are split off by a reshape and a transpose, keys are transposed, a joint projection is sliced
into queries, keys and values: none of that needs a copy if the product reads through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvmcomp.passes.rewriter import const_value, dtype_of, op_name, shape_of
from tvmcomp.schedules.matmul.view import View
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, Expr, Var

relax = tvm.relax


@dataclass(frozen=True)
class Operand:
    """``scale * source``, seen through ``view``.

    Attributes:
        source: an expression of the function.
        view: how the operand reads it.
        scale: a factor of every element.
    """

    source: Expr
    view: View
    scale: float = 1.0


def trace_operand(expr: Expr, producer: Mapping[Var, Expr]) -> Operand:
    """Follow ``expr`` back to the tensor that it is a view of, or a multiple of a view.

    Args:
        expr: a tensor of known shape.
        producer: variable -> the value bound to it.
    """
    return _trace(expr, producer, scaled=True)


def trace_view(expr: Expr, producer: Mapping[Var, Expr]) -> Operand:
    """As :func:`trace_operand`, but not through a multiplication: the scale is 1."""
    return _trace(expr, producer, scaled=False)


def _trace(expr: Expr, producer: Mapping[Var, Expr], scaled: bool) -> Operand:
    value: Any = producer.get(expr)
    if isinstance(value, relax.TupleGetItem):
        return _part_of_split(expr, value, producer, scaled) or _itself(expr)
    name = op_name(value)
    if name in ("multiply", "divide") and scaled:
        return _scaled(value, name, producer) or _itself(expr)
    if name in ("permute_dims", "reshape", "squeeze", "expand_dims", "broadcast_to", "flatten"):
        inner = _trace(value.args[0], producer, scaled)
        view = view_through(expr, value, inner.view)
        return Operand(inner.source, view, inner.scale) if view is not None else _itself(expr)
    if name in ("strided_slice", "take"):
        return _slice(expr, value, name, producer, scaled) or _itself(expr)
    return _itself(expr)


def view_through(var: Var, value: Expr, view: View) -> View | None:
    """``view`` after the operator ``value``, bound to ``var``; None where that is no view."""
    name = op_name(value)
    if name == "permute_dims":
        rank = len(view.dims)
        axes = value.attrs.axes
        order = range(rank)[::-1] if axes is None else [int(axis) % rank for axis in axes]
        return view.permute(order)
    if name == "broadcast_to":
        return view.broadcast(shape_of(var))
    if name in ("reshape", "squeeze", "expand_dims", "flatten"):
        return view.reshape(shape_of(var))
    return None


def _itself(expr: Expr) -> Operand:
    return Operand(expr, View.of(shape_of(expr)))


def _scaled(call: Call, name: str, producer: Mapping[Var, Expr]) -> Operand | None:
    data, factor = call.args
    if const_value(factor) is None and name == "multiply":
        data, factor = factor, data
    value = const_value(factor)
    if value is None or value.size != 1 or value.ndim > len(shape_of(data)):
        return None
    number = float(value.reshape(()))
    if dtype_of(data) != "float32" or number == 0:
        return None
    inner = _trace(data, producer, scaled=True)
    scale = inner.scale * number if name == "multiply" else inner.scale / number
    return Operand(inner.source, inner.view, scale)


def _part_of_split(
    expr: Expr, value: Expr, producer: Mapping[Var, Expr], scaled: bool
) -> Operand | None:
    split: Any = producer.get(value.tuple_value)
    if op_name(split) != "split":
        return None
    data = split.args[0]
    axis = int(split.attrs.axis) % len(shape_of(data))
    sections = split.attrs.indices_or_sections
    extent = shape_of(expr)[axis]
    if hasattr(sections, "__len__"):
        begin = [0, *(int(at) for at in sections)][value.index]
    else:
        begin = -(-shape_of(data)[axis] // int(sections)) * value.index
    inner = _trace(data, producer, scaled)
    view = inner.view.slice(axis, begin, extent)
    return Operand(inner.source, view, inner.scale) if view is not None else None


def _slice(
    expr: Expr, call: Call, name: str, producer: Mapping[Var, Expr], scaled: bool
) -> Operand | None:
    data, shape = call.args[0], shape_of(expr)
    parts = _taken(call, shape_of(data)) if name == "take" else _strided(call, shape_of(data))
    if parts is None:
        return None
    inner = _trace(data, producer, scaled)
    view: View | None = inner.view
    for axis, begin, extent in parts:
        view = view.slice(axis, begin, extent) if view is not None else None
    view = view.reshape(shape) if view is not None else None  # ``take`` drops the dimension.
    return Operand(inner.source, view, inner.scale) if view is not None else None


def _taken(call: Call, shape: tuple[int, ...]) -> list[tuple[int, int, int]] | None:
    """The axis, begin and extent of a ``take`` of one constant index."""
    index = const_value(call.args[1])
    if index is None or index.size != 1 or call.attrs.axis is None:
        return None
    axis, at = int(call.attrs.axis) % len(shape), int(index.reshape(()))
    return [(axis, at % shape[axis], 1)] if -shape[axis] <= at < shape[axis] else None


def _strided(call: Call, shape: tuple[int, ...]) -> list[tuple[int, int, int]] | None:
    """The axis, begin and extent of each part of a ``strided_slice`` with steps of 1."""
    axes, begins, ends, *steps = (_integers(arg) for arg in call.args[1:])
    if axes is None or begins is None or ends is None or None in steps:
        return None
    if any(step != 1 for each in steps for step in each or ()):
        return None
    parts = []
    for axis, begin, end in zip(axes, begins, ends, strict=True):
        size = shape[axis]
        first, last = (min(max(at + size if at < 0 else at, 0), size) for at in (begin, end))
        parts.append((axis % len(shape), first, max(0, last - first)))
    return parts


def _integers(fields: Any) -> list[int] | None:
    """The numbers of a tuple of constants."""
    values = [getattr(field, "value", field) for field in fields.fields]
    try:
        return [int(value) for value in values]
    except (TypeError, ValueError):
        return None
