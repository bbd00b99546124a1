"""Our converters of Scatter, ScatterElements, ScatterND and MaxUnpool.

Indices are in range already (`indices.py`). Along an axis the kernel is the one of
`schedules/rows/scatter.py`; the one of coordinates is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.indices import in_range
from tvmcomp.frontend.onnx.values import array_of, constant, dtype_of, ints_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs, Var

relax, tirx, te = tvm.relax, tvm.tirx, tvm.te

#: Given the indices' buffer and the loop variables over the updates, where an update goes.
_Place = Callable[[Any, list[Any]], list[Any]]

_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "min": tirx.min,
    "max": tirx.max,
}
#: The same of booleans, for which TIR has no minimum and no sum.
_COMBINE_BOOL: dict[str, Callable[[Any, Any], Any]] = {
    "none": _COMBINE["none"],
    "add": tirx.Or,
    "mul": tirx.And,
    "min": tirx.And,
    "max": tirx.Or,
}


class ScatterElements(Converter):
    """Scatter and ScatterElements, with any reduction; indices may be smaller than the data."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, indices, updates = inputs[0], inputs[1], inputs[2]
        if 0 in shape_of(updates):
            return data
        axis = attr.get("axis", 0) % len(shape_of(data))
        reduction = attr.get("reduction", b"none").decode()
        if dtype_of(data) == "bool":
            # As numbers: a sum of booleans is their maximum, a product their minimum.
            reduction = {"add": "max", "mul": "min"}.get(reduction, reduction)
            data, updates = (bb.emit(relax.op.astype(x, "int8")) for x in (data, updates))
        reduction = "update" if reduction == "none" else reduction
        result = relax.op.scatter_elements(data, indices, updates, axis, reduction)
        return result if data is inputs[0] else relax.op.astype(bb.emit(result), "bool")


class ScatterND(Converter):
    """ScatterND, with any reduction."""

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        *rows, depth = shape_of(inputs[1])

        def place(indices: Any, at: list[Any]) -> list[Any]:
            row, rest = at[: len(rows)], at[len(rows) :]
            found = [
                tirx.Cast("int64", tirx.BufferLoad(indices, [*row, tirx.const(i, "int64")]))
                for i in range(depth)
            ]
            return [*found, *rest]

        return _scatter(bb, inputs[0], inputs[1], inputs[2], attr, place)


class MaxUnpool(Converter):
    """MaxUnpool: zeros, and the data at places counted through the whole output."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        shape = shape_of(inputs[0])
        kernel = list(attr["kernel_shape"])
        dims = len(kernel)
        strides = list(attr.get("strides", [1] * dims))
        pads = list(attr.get("pads", [0] * 2 * dims))
        wanted = shape[:2] + [
            (shape[2 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[dims + i]
            for i in range(dims)
        ]
        if inputs[2] is not None:
            wanted = ints_of(inputs[2], "output shape")
        count = math.prod(shape)
        zeros = constant(np.zeros(math.prod(wanted), dtype_of(inputs[0])))
        flat = [_flat(bb, value, count) for value in (inputs[1], inputs[0])]
        places = in_range(flat[0], math.prod(wanted))
        flat[0] = places if array_of(places) is not None else bb.emit(places)
        scattered = ScatterElements._impl_v9(bb, [zeros, *flat], {}, params)
        return relax.op.reshape(bb.emit(scattered), wanted)


def _flat(bb: Builder, value: Expr, count: int) -> Expr:
    array = array_of(value)
    if array is not None:  # still a constant, whose numbers can be checked
        return constant(array.reshape(count))
    return bb.emit(relax.op.reshape(value, (count,)))


def _scatter(
    bb: Builder,
    data: Expr,
    indices: Any,
    updates: Any,
    attr: dict[str, Any],
    place: _Place,
) -> Expr:
    """Emit a copy of ``data`` with ``updates`` put in, or combined, where ``place`` says."""
    if 0 in shape_of(updates):
        return data
    reduction = attr.get("reduction", b"none").decode()
    combine = (_COMBINE_BOOL if dtype_of(data) == "bool" else _COMBINE)[reduction]

    def loops(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        source, index, update = ins
        (out,) = outs
        at = _variables(source.shape)
        copy: Any = tirx.BufferStore(out, tirx.BufferLoad(source, at), at)
        copy = _nest(copy, at, source.shape, parallel=0)
        at = _variables(update.shape)
        there = place(index, at)
        value = combine(tirx.BufferLoad(out, there), tirx.BufferLoad(update, at))
        store: Any = tirx.BufferStore(out, value, there)
        store = _nest(store, at, update.shape, parallel=None)
        return tirx.SeqStmt([copy, store])

    def compute(source: Expr, index: Any, update: Any) -> Any:
        return te.extern(
            [source.shape], [source, index, update], loops, dtype=[source.dtype], name="scatter"
        )

    return bb.emit_te(compute, data, indices, updates)


def _variables(shape: Sequence[Any]) -> list[Any]:
    return [tirx.Var(f"i{axis}", "int64") for axis in range(len(shape))]


def _nest(body: Any, variables: list[Var], shape: Sequence[Any], parallel: int | None) -> Any:
    """``body`` in a loop for each of ``variables``, the first outermost."""
    for axis in reversed(range(len(variables))):
        kind = tirx.ForKind.PARALLEL if axis == parallel else tirx.ForKind.SERIAL
        zero = tirx.const(0, "int64")
        body = tirx.For(variables[axis], zero, tirx.Cast("int64", shape[axis]), kind, body)
    return body


#: ONNX operator -> converter.
SCATTER = {
    "MaxUnpool": MaxUnpool,
    "Scatter": ScatterElements,
    "ScatterElements": ScatterElements,
    "ScatterND": ScatterND,
}
