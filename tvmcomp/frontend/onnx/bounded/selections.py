"""Operators that choose: how many elements they give depends on data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx

from tvmcomp.frontend.onnx.bounded.bounding import Bounding
from tvmcomp.frontend.onnx.bounded.elements import most_of
from tvmcomp.frontend.onnx.bounded.values import Count, Value
from tvmcomp.frontend.onnx.node_facts import attributes_of

_INT64, _BOOL = onnx.TensorProto.INT64, onnx.TensorProto.BOOL


def _chosen(b: Bounding, data: Value) -> tuple[Value, Count]:
    """The places in ``data``, made flat, of what is real and not zero."""
    mask = b.filled(replace(b.node("Cast", data, to=_BOOL), length=data.length), 0)
    return b.places(b.node("Reshape", mask, b.ints(-1)))


def non_zero(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value]:
    """NonZero: a place in the flat tensor is divided into one along each axis."""
    (data,) = values
    if not data.dims:
        data = b.node("Reshape", data, b.ints(1))
    places, count = _chosen(b, data)
    rows, stride = [], 1
    for size in reversed(data.dims):
        row = places if stride == 1 else b.node("Div", places, b.ints(stride))
        rows.append(row if size * stride == math.prod(data.dims) else
                    b.node("Mod", row, b.ints(max(size, 1))))  # fmt: skip
        stride *= max(size, 1)
    rows = [b.node("Unsqueeze", row, b.ints(0)) if b.opset >= 13 else
            b.node("Unsqueeze", row, axes=[0]) for row in rows]  # fmt: skip
    return [b.with_length(b.node("Concat", *reversed(rows), axis=0), 1, count)]


def compress(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Compress by a condition that is computed."""
    data, condition = values
    if b.array(condition) is not None:
        return None
    axis = attributes_of(node).get("axis")
    if axis is None:
        data, axis = b.node("Reshape", b.filled(data, 0), b.ints(-1)), 0
        if values[0].length is not None:
            raise ValueError("its data's size depends on data")
    axis %= len(data.dims)
    if data.length is not None and data.length.axis != axis:
        raise ValueError("two of its axes have sizes that depend on data")
    size = min(data.dims[axis], condition.dims[0])
    mask = b.filled(condition, 0)
    if size < condition.dims[0]:
        mask = b.node("Slice", mask, b.ints(0), b.ints(size), b.ints(0))
    if data.length is not None:
        mask = b.node("And", mask, b.mask(size, data.length.count))
    places, count = b.places(mask)
    return [b.with_length(b.node("Gather", data, places, axis=axis), axis, count)]


def non_max_suppression(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value]:
    """NonMaxSuppression, which gives rows of -1 behind those of boxes that it selects."""
    boxes, scores = values[:2]
    for value, axis in ((boxes, 1), (scores, 2)):
        if value.length is not None and value.length.axis != axis:
            raise ValueError("the number of its images or classes depends on data")
    (result,) = b.same(node, [boxes, b.filled(scores, -np.inf), *values[2:]])
    most = b.array(values[2]) if len(values) > 2 and values[2].name else np.array(0)
    if most is None:
        raise ValueError("its number of boxes is computed when the network runs")
    batch, classes, count = scores.dims
    rows = batch * classes * min(max(int(most.item()), 0), count)
    result = replace(result, dtype=_INT64, shape=(rows, 3))
    b.note(result)
    first = b.node("Gather", result, b.ints(0), axis=1)
    taken = b.node("Cast", b.node("GreaterOrEqual", first, b.ints(0)), to=_INT64)
    number = b.node("ReduceSum", taken, keepdims=0)
    number = b.node("Reshape", number, b.ints(1))
    return [b.with_length(result, 0, b.count(number, rows))]


def top_k(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """TopK: of what is real, as many as there are or are asked for."""
    data, wanted = values
    attributes = attributes_of(node)
    axis = attributes.get("axis", -1) % len(data.dims)
    element = wanted.elements[0] if wanted.elements else None
    counted = data.length is not None and data.length.axis == axis
    if isinstance(element, int) and not counted:
        if data.length is None:
            return None
        return [b.with_length(each, data.length.axis, data.length.count)
                for each in b.same(node, values)]  # fmt: skip
    if data.length is not None and not counted:
        raise ValueError("two of its axes have sizes that depend on data")
    most = min(most_of(element, data.dims[axis]), data.dims[axis])
    fill = -np.inf if attributes.get("largest", 1) else np.inf
    results = b.same(node, [b.filled(data, fill), b.ints(most)])
    # A number that is known is one that the model promises to have.
    if isinstance(element, int):
        return results
    number = b.node("Reshape", b.node("Cast", wanted, to=_INT64), b.ints(1))
    if isinstance(element, Count):
        number = b.scalar(element)
    count = element if isinstance(element, Count) and element.most <= most else b.count(
        b.node("Min", number, b.ints(most)), most)  # fmt: skip
    return [b.with_length(result, axis, count) for result in results]


def range_(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Range to a number that is computed, and bounded."""
    start, limit, delta = (value.elements[0] if value.elements else None for value in values)
    if isinstance(limit, int) or not isinstance(start, int) or not isinstance(delta, int):
        return None
    if not isinstance(limit, Count) or delta < 1 or values[0].dtype != _INT64:
        return None
    most = max(-(-(limit.most - start) // delta), 0)
    result = b.constant(np.arange(start, start + most * delta, delta))
    if (start, delta) == (0, 1):
        return [b.with_length(result, 0, limit)]
    span = b.node("Add", b.scalar(limit), b.ints(delta - 1 - start))
    count = b.node("Max", b.ints(0), b.node("Div", span, b.ints(delta)))
    return [b.with_length(result, 0, b.count(count, most))]


def constant_of_shape(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """ConstantOfShape of a size that is computed, and bounded."""
    sizes = values[0].elements
    if values[0].known is not None or sizes is None or None in sizes:
        return None
    at, count = _one_count(sizes)
    shape = [most_of(size, 2**31) for size in sizes]
    (result,) = b.same(node, [b.ints(*shape)])
    return [b.with_length(result, at, count)]


def expand(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Expand to a size that is computed, and bounded; or of one."""
    data, wanted = values
    sizes = wanted.elements
    if data.length is None and (wanted.known is not None or sizes is None or None in sizes):
        return None
    if sizes is None or None in sizes:
        raise ValueError("its shape is computed when the network runs")
    rank = max(len(sizes), len(data.dims))
    own = data.length.axis + rank - len(data.dims) if data.length is not None else -1
    counts = {i + rank - len(sizes): size for i, size in enumerate(sizes)
              if isinstance(size, Count)}  # fmt: skip
    if data.length is not None:
        counts.setdefault(own, data.length.count)
    ((at, count),) = counts.items() if len(counts) == 1 else [(-1, None)]
    if count is None or (data.length is not None and (at != own or count != data.length.count)):
        raise ValueError("its sizes depend on data in different ways")
    shape = [most_of(size, 2**31) for size in sizes]
    if data.length is not None and own >= rank - len(sizes):
        shape[own - rank + len(sizes)] = data.dims[data.length.axis]
    (result,) = b.same(node, [data, b.ints(*shape)])
    return [b.with_length(result, at, count)]


def _one_count(sizes: tuple[int | Count | None, ...]) -> tuple[int, Count]:
    found = [(i, size) for i, size in enumerate(sizes) if isinstance(size, Count)]
    if len(found) != 1:
        raise ValueError("two of its axes have sizes that depend on data")
    return found[0]


RULES = {
    "Compress": compress,
    "ConstantOfShape": constant_of_shape,
    "Expand": expand,
    "NonMaxSuppression": non_max_suppression,
    "NonZero": non_zero,
    "Range": range_,
    "TopK": top_k,
}
