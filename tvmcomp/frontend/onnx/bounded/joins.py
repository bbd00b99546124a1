"""Concat, the scatters and If, where tensors whose sizes depend on data meet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from tvmcomp.frontend.onnx.bounded.bounding import Bounding
from tvmcomp.frontend.onnx.bounded.values import Count, Length, Value
from tvmcomp.frontend.onnx.node_facts import attributes_of


def concat(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Concat: what is real of each part moves to the front."""
    counted = [value for value in values if value.length is not None]
    if not counted:
        return None
    axis = attributes_of(node)["axis"] % len(values[0].dims)
    lengths = {value.length for value in counted if value.length is not None}
    if all(length.axis != axis for length in lengths):
        if len(lengths) != 1 or len(counted) != len(values):
            raise ValueError("its operands have sizes that depend on data in different ways")
        (length,) = lengths
        return [b.with_length(b.same(node, values)[0], length.axis, length.count)]
    if any(length.axis != axis for length in lengths):
        raise ValueError("two of its axes have sizes that depend on data")
    parts = [value for value in values if value.dims[axis]]
    together = b.node("Concat", *parts, axis=axis)
    masks = [
        b.mask(value.dims[axis], value.dims[axis] if value.length is None else value.length.count)
        for value in parts
    ]
    places, count = b.places(b.node("Concat", *masks, axis=0))
    return [b.with_length(b.node("Gather", together, places, axis=axis), axis, count)]


def scatter(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """ScatterElements, Scatter and ScatterND: what is not real goes to a place of no use."""
    data, indices, updates = values
    if indices.length is None:
        if updates.length is not None:
            raise ValueError("its updates' size depends on data, and its indices' does not")
        if data.length is None:
            return None
        return [replace(b.same(node, values)[0], length=data.length)]
    nd = node.op_type == "ScatterND"
    axis = 0 if nd else attributes_of(node).get("axis", 0) % len(data.dims)
    if nd and indices.length.axis == len(indices.dims) - 1:
        raise ValueError("how deep its indices go depends on data")
    size = data.dims[axis]
    more = list(data.dims)
    more[axis] = 1
    kind = helper.tensor_dtype_to_np_dtype(data.dtype)
    wider = b.node("Concat", data, b.constant(np.zeros(more, kind)), axis=axis)
    number = b.ints(size) if data.length is None or data.length.axis != axis else b.scalar(
        data.length.count)  # fmt: skip
    if nd:
        steps = b.node(
            "Concat", number, b.constant(np.zeros(indices.dims[-1] - 1, "int64")), axis=0
        )
        away = np.array([size] + [0] * (indices.dims[-1] - 1), "int64")
    else:
        steps, away = number, np.array(size, "int64")
    dtype = helper.tensor_dtype_to_np_dtype(indices.dtype)
    steps = b.node("Cast", steps, to=indices.dtype)
    negative = b.node("Less", indices, b.constant(np.array(0, dtype)))
    placed = b.node("Where", negative, b.node("Add", indices, steps), indices)
    shape = [1] * len(indices.dims)
    shape[indices.length.axis] = indices.dims[indices.length.axis]
    mask = b.mask(shape[indices.length.axis], indices.length.count)
    mask = b.node("Reshape", mask, b.ints(*shape))
    placed = b.node("Where", mask, placed, b.constant(away.astype(dtype)))
    (result,) = b.same(node, [wider, placed, updates])
    result = b.node("Slice", result, b.ints(0), b.ints(size), b.ints(axis))
    return [replace(result, length=data.length)]


def choose(b: Bounding, condition: Value, then: Value, other: Value) -> Value:
    """What If gives: both are computed, as long as the longer of the two may be."""
    if len(then.dims) != len(other.dims):
        raise ValueError(
            f"its branches give tensors of {len(then.dims)} and {len(other.dims)} axes"
        )
    condition = b.node("Reshape", condition, b.ints(1))
    axes = {value.length.axis for value in (then, other) if value.length is not None}
    axes |= {i for i, pair in enumerate(zip(then.dims, other.dims, strict=True))
             if pair[0] != pair[1]}  # fmt: skip
    if not axes:
        return b.node("Where", condition, then, other)
    if len(axes) > 1:
        raise ValueError("its branches give tensors that differ along two axes")
    axis = axes.pop()
    bound = max(then.dims[axis], other.dims[axis])
    left, right = (_padded(b, value, axis, bound) for value in (then, other))
    result = b.node("Where", condition, left, right)
    counts = [_count(value, axis) for value in (then, other)]
    if counts[0] == counts[1]:
        return replace(result, length=then.length)
    number = b.node("Where", condition, *map(b.scalar, counts))
    return replace(result, length=Length(axis, b.count(number, bound)))


def _count(value: Value, axis: int) -> Count | int:
    return value.dims[axis] if value.length is None else value.length.count


def _padded(b: Bounding, value: Value, axis: int, size: int) -> Value:
    if value.dims[axis] == size:
        return value
    shape = list(value.dims)
    shape[axis] = size - value.dims[axis]
    more = b.constant(np.zeros(shape, helper.tensor_dtype_to_np_dtype(value.dtype)))
    return b.node("Concat", value, more, axis=axis) if value.dims[axis] else more


RULES = {"Concat": concat, "Scatter": scatter, "ScatterElements": scatter, "ScatterND": scatter}
