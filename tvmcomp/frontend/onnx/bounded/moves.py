"""Operators that move elements: where the axis whose size depends on data goes to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx

from tvmcomp.frontend.onnx.bounded.bounding import Bounding
from tvmcomp.frontend.onnx.bounded.elements import most_of
from tvmcomp.frontend.onnx.bounded.values import Count, Element, Value
from tvmcomp.frontend.onnx.node_facts import attributes_of


def transpose(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Transpose."""
    length = values[0].length
    if length is None:
        return None
    rank = len(values[0].dims)
    order = attributes_of(node).get("perm", tuple(range(rank))[::-1])
    (result,) = b.same(node, values)
    return [b.with_length(result, list(order).index(length.axis), length.count)]


def reshape(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Reshape, Flatten, Squeeze and Unsqueeze: the axis stays, or joins those behind it.

    ``n`` rows of ``F`` elements behind ``P`` places in front become ``n * F / F'`` of ``F'``.
    """
    data = values[0]
    wanted = _wanted(b, node, values)
    if wanted is None or (data.length is None and all(isinstance(each, int) for each in wanted)):
        return None
    if data.length is None:
        return _counted(b, data, wanted)
    axis, count = data.length.axis, data.length.count
    front, behind = math.prod(data.dims[:axis]), math.prod(data.dims[axis + 1 :])
    open_axes = [i for i, size in enumerate(wanted) if not isinstance(size, int)]
    if not open_axes:
        return [_fixed(b, data, [size for size in wanted if isinstance(size, int)], front)]
    others = [i for i in open_axes if wanted[i] != count]
    if len(others) == 1 and len(open_axes) == 2:  # n of n rows: the other size follows
        known = math.prod(size for size in wanted if isinstance(size, int))
        if known and not (front * behind) % known:
            wanted[others[0]] = front * behind // known
            open_axes.remove(others[0])
    # Of several sizes that are not known the one that stands behind as much is it.
    for at in open_axes:
        rest = [size for i, size in enumerate(wanted) if i != at]
        if not all(isinstance(size, int) for size in rest):
            continue
        before = math.prod(size for size in wanted[:at] if isinstance(size, int))
        after = math.prod(size for size in wanted[at + 1 :] if isinstance(size, int))
        if before != front or not after or (data.dims[axis] * behind) % after:
            continue
        shape = [size if isinstance(size, int) else data.dims[axis] * behind // after
                 for size in wanted]  # fmt: skip
        result = b.node("Reshape", data, b.ints(*shape))
        return [b.with_length(result, at, _times(b, count, behind, after))]
    sizes = ", ".join("?" if isinstance(size, Count) else str(size) for size in _sizes(data))
    into = ", ".join(str(size) if isinstance(size, int) else "?" for size in wanted)
    raise ValueError(f"it makes [{into}] of [{sizes}], whose size ? depends on data")


def _counted(b: Bounding, data: Value, wanted: list[Element]) -> list[Value] | None:
    """What has a known size gets one that is computed, but can only be that."""
    at = [i for i, size in enumerate(wanted) if not isinstance(size, int)]
    rest = math.prod(size for size in wanted if isinstance(size, int))
    if len(at) != 1 or not rest or math.prod(data.dims) % rest:
        return None
    shape = [size if isinstance(size, int) else math.prod(data.dims) // rest for size in wanted]
    return [b.node("Reshape", data, b.ints(*shape))]


def _wanted(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Element] | None:
    """The sizes asked for; None where one is left open (-1) or not known."""
    data, dims = values[0], _sizes(values[0])
    attributes = attributes_of(node)
    axes = attributes.get("axes")
    if axes is None and len(values) > 1 and values[1].name:
        axes = values[1].known
    if node.op_type == "Squeeze":
        gone = {axis % len(dims) for axis in axes} if axes is not None else {
            i for i, size in enumerate(dims) if size == 1}  # fmt: skip
        if data.length is not None and data.length.axis in gone:
            raise ValueError("it leaves out the axis whose size depends on data")
        return [size for i, size in enumerate(dims) if i not in gone]
    if node.op_type == "Unsqueeze":
        if axes is None:
            return None
        rank = len(dims) + len(axes)
        left, new = iter(dims), {axis % rank for axis in axes}
        return [1 if i in new else next(left) for i in range(rank)]
    if node.op_type == "Flatten":
        axis = attributes.get("axis", 1)
        axis += len(dims) if axis < 0 else 0
        return [_joined(dims[:axis]), _joined(dims[axis:])]
    target = values[1].elements
    if target is None:
        shape = values[1].shape
        target = (None,) * shape[0] if shape else None
    if target is None:
        return None
    keep = not attributes.get("allowzero", 0)
    return [
        dims[i] if size == 0 and keep else None if size == -1 else size
        for i, size in enumerate(target)
    ]


def _sizes(value: Value) -> list[Element]:
    dims: list[Element] = list(value.dims)
    if value.length is not None:
        dims[value.length.axis] = value.length.count
    return dims


def _joined(sizes: list[Element]) -> Element:
    known = [size for size in sizes if isinstance(size, int)]
    return math.prod(known) if len(known) == len(sizes) else None


def _fixed(b: Bounding, data: Value, shape: list[int], front: int) -> Value:
    """As many elements as the model says that there are."""
    size = math.prod(shape)
    if front != 1 or data.length is None or size > math.prod(data.dims):
        raise ValueError(f"it makes {shape} of a tensor whose size depends on data")
    flat = b.node("Reshape", data, b.ints(-1))
    return b.node("Reshape", b.node("Slice", flat, b.ints(0), b.ints(size)), b.ints(*shape))


def _times(b: Bounding, count: Count, factor: int, divisor: int) -> Count:
    if factor == divisor:
        return count
    product = b.node("Div", b.node("Mul", b.scalar(count), b.ints(factor)), b.ints(divisor))
    return b.count(product, count.most * factor // divisor)


def gather(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Gather: the indices' axis takes the data's; negative ones count from its real end."""
    data, indices = values
    if data.length is None and indices.length is None:
        return None
    axis = attributes_of(node).get("axis", 0) % len(data.dims)
    if data.length is not None and data.length.axis == axis:
        indices = _from_the_end(b, indices, b.scalar(data.length.count))
    (result,) = b.same(node, [data, indices])
    if values[1].length is not None:
        if data.length is not None and data.length.axis != axis:
            raise ValueError("two of its axes have sizes that depend on data")
        return [b.with_length(result, axis + values[1].length.axis, values[1].length.count)]
    if data.length is None or data.length.axis == axis:
        return [result]
    shift = len(indices.dims) - 1 if data.length.axis > axis else 0
    return [b.with_length(result, data.length.axis + shift, data.length.count)]


def _from_the_end(b: Bounding, indices: Value, size: Value) -> Value:
    if indices.known is not None and min(indices.known, default=0) >= 0:
        return indices
    size = b.node("Cast", size, to=indices.dtype)
    size = size if indices.dims else b.node("Squeeze", size, b.ints(0))
    zero = b.node("Sub", indices, indices)
    return b.node("Where", b.node("Less", indices, zero), b.node("Add", indices, size), indices)


def gather_nd(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """GatherND: rows of indices give rows of data."""
    data, indices = values
    if data.length is None and indices.length is None:
        return None
    if attributes_of(node).get("batch_dims", 0):
        raise ValueError("it has batch_dims, and sizes that depend on data")
    wide = indices.dims[-1]
    if data.length is not None and data.length.axis < wide:
        sizes = [b.scalar(size) if isinstance(size, int | Count) else b.ints(0)
                 for size in _sizes(data)[:wide]]  # fmt: skip
        indices = _from_the_end(b, indices, b.node("Concat", *sizes, axis=0))
    (result,) = b.same(node, [data, indices])
    if values[1].length is not None:
        if data.length is not None and data.length.axis >= wide:
            raise ValueError("two of its axes have sizes that depend on data")
        return [b.with_length(result, values[1].length.axis, values[1].length.count)]
    if data.length is None or data.length.axis < wide:
        return [result]
    axis = data.length.axis - wide + len(indices.dims) - 1
    return [b.with_length(result, axis, data.length.count)]


def gather_elements(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """GatherElements: as large as its indices."""
    data, indices = values
    if data.length is None and indices.length is None:
        return None
    axis = attributes_of(node).get("axis", 0) % len(data.dims)
    if data.length is not None and data.length.axis == axis:
        indices = _from_the_end(b, indices, b.scalar(data.length.count))
    (result,) = b.same(node, [data, indices])
    length = values[1].length
    return [b.with_length(result, length.axis, length.count) if length else result]


def slice_(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Slice: along the counted axis, or to an end that is counted."""
    data = values[0]
    values = values + [Value("")] * (5 - len(values))
    if b.opset < 10 or data.shape is None:
        return None
    places = values[1].shape
    if not places:
        return None
    axes = values[3].known if values[3].name else tuple(range(places[0]))
    steps = values[4].known if values[4].name else (1,) * places[0]
    if axes is None or steps is None:
        return None
    starts, ends = (value.elements or (None,) * places[0] for value in values[1:3])
    axes = tuple(axis % len(data.dims) for axis in axes)
    counted = data.length.axis if data.length is not None else -1
    open_ = [
        i
        for i, axis in enumerate(axes)
        if axis == counted or not isinstance(starts[i], int) or not isinstance(ends[i], int)
    ]
    if data.length is None and not open_:
        return None
    result = data
    for i in range(len(axes)):
        if (starts[i], steps[i]) == (0, 1) and _at_least(ends[i], data.dims[axes[i]]):
            continue
        if i in open_:
            result = _part(
                b, result, axes[i], (starts[i], ends[i], steps[i]), (values[1], values[2], i)
            )
            continue
        bounds = [each if isinstance(each, int) else 0 for each in (starts[i], ends[i])]
        numbers = map(b.ints, (*bounds, axes[i], steps[i]))
        result = replace(b.node("Slice", result, *numbers), length=result.length)
    return [result]


def _at_least(end: Element, size: int) -> bool:
    return isinstance(end, int) and end >= size


def _part(
    b: Bounding,
    data: Value,
    axis: int,
    where: tuple[Element, Element, int],
    given: tuple[Value, Value, int],
) -> Value:
    """The places ``start`` to ``end`` of an axis by a step, one of them of run time."""
    start, end, step = where
    if data.length is not None and data.length.axis != axis:
        raise ValueError("two of its axes have sizes that depend on data")
    if step < 1:
        raise ValueError("it goes backward along an axis whose size depends on data")
    size = data.dims[axis]
    real = b.scalar(size if data.length is None else data.length.count)
    ends = [b.node("Gather", b.node("Cast", value, to=onnx.TensorProto.INT64), b.ints(given[2]))
            for value in given[:2]]  # fmt: skip
    zero = b.ints(0)
    first, last = (
        b.node("Max", zero, b.node("Min", real, _from_the_end(b, each, real))) for each in ends
    )
    span = b.node("Add", b.node("Sub", last, first), b.ints(step - 1))
    count = b.node("Max", zero, b.node("Div", span, b.ints(step)))
    from_front = isinstance(start, int) and start >= 0
    most = min(most_of(end, size), size) if most_of(end, size) >= 0 else size
    most = max(-(-(most - (start if isinstance(start, int) and from_front else 0)) // step), 0)
    if isinstance(start, int) and start < 0 and end is not None and most_of(end, size) >= size:
        most = min(most, -(start // step))
    if isinstance(start, int) and from_front:
        part = b.node("Slice", data, b.ints(start), b.ints(start + most * step), b.ints(axis),
                      b.ints(step))  # fmt: skip
    else:
        steps = b.constant(np.arange(most) * step)
        places = b.node("Min", b.node("Add", first, steps), b.ints(max(size - 1, 0)))
        part = b.node("Gather", data, places, axis=axis)
    return b.with_length(part, axis, b.count(count, part.dims[axis]))


RULES = {
    "Flatten": reshape,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Reshape": reshape,
    "Slice": slice_,
    "Squeeze": reshape,
    "Transpose": transpose,
    "Unsqueeze": reshape,
}
