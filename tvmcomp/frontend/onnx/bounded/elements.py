"""Arithmetic of shapes: what is known of the elements of small integer tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx

from tvmcomp.frontend.onnx.bounded.bounding import Bounding
from tvmcomp.frontend.onnx.bounded.values import Count, Element, Value
from tvmcomp.frontend.onnx.node_facts import attributes_of

_FOLLOWED = {onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL}
_SAME = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
#: Shapes have no more axes.
_MOST = 64
_NUMBERS: dict[str, Callable[..., int]] = {
    "Add": lambda a, b: a + b,
    "Div": lambda a, b: int(a / b) if b else 0,
    "Max": max,
    "Min": min,
    "Mul": lambda a, b: a * b,
    "Sub": lambda a, b: a - b,
}


def followed(node: onnx.NodeProto, inputs: Sequence[Value], result: Value) -> Value:
    """``result`` of ``node`` with what is known of its elements, if it is one of shapes."""
    if result.dtype not in _FOLLOWED or result.shape is None or len(result.shape) > 2:
        return result
    if result.elements is not None or result.length is not None:
        return result
    data = inputs[0].elements if inputs else None
    found: tuple[Element, ...] | None = None
    if node.op_type in _SAME:
        found = data
    elif any(len(value.shape or ()) > 1 for value in (*inputs, result)):
        found = _of_pairs(node, inputs)
    elif node.op_type == "Gather" and data is not None and inputs[1].known is not None:
        found = tuple(data[i] if -len(data) <= i < len(data) else None for i in inputs[1].known)
    elif node.op_type == "Concat" and all(value.elements is not None for value in inputs):
        found = sum((value.elements or () for value in inputs), ())
    elif node.op_type == "Slice" and data is not None:
        found = _sliced(data, inputs)
    elif node.op_type in _NUMBERS and len(inputs) == 2:
        found = _computed(node.op_type, inputs, result)
    elif node.op_type == "Equal":
        found = _equal(inputs, result)
    elif node.op_type == "Where":
        found = _where(inputs, result)
    elif node.op_type == "ConstantOfShape" and math.prod(result.shape) <= _MOST:
        value = attributes_of(node).get("value")
        number = 0 if value is None else int(onnx.numpy_helper.to_array(value).item())
        found = (number,) * math.prod(result.shape)
    elif node.op_type in ("ReduceMin", "ReduceMax", "ReduceProd") and data is not None:
        found = (_reduced(node.op_type, data, result.name),)
    if found is None or len(found) != math.prod(result.shape):
        return result
    return replace(result, elements=found)


def _of_pairs(node: onnx.NodeProto, inputs: Sequence[Value]) -> tuple[Element, ...] | None:
    """The elements of a matrix that is turned: as exporters order what Pad adds."""
    data = inputs[0]
    if data.elements is None or len(data.dims) != 2:
        return None
    rows = _matrix(data)
    if node.op_type == "Transpose":
        if list(attributes_of(node).get("perm", (1, 0))) != [1, 0]:
            return data.elements
        return tuple(each for column in zip(*rows, strict=True) for each in column)
    if node.op_type != "Slice" or (len(inputs) > 3 and inputs[3].name and inputs[3].known != (0,)):
        return None
    places = _sliced(tuple(range(len(rows))), inputs)
    return None if places is None else sum((rows[i] for i in places if isinstance(i, int)), ())


def in_full(b: Bounding, value: Value) -> Value:
    """``value``, or the constant that it is."""
    if value.known is None or value.shape is None or b.array(value) is not None:
        return value
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.dtype)
    return b.constant(np.array(value.known, dtype).reshape(value.shape))


def shape_of(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Shape and Size: constants but for the size that depends on data."""
    (data,) = values
    if data.shape is None:
        return None
    dims: list[int | Count] = list(data.shape)
    if data.length is not None:
        dims[data.length.axis] = data.length.count
    if node.op_type == "Shape":
        attributes = attributes_of(node)
        dims = dims[attributes.get("start", 0) : attributes.get("end", len(dims))]
        if not dims:
            return [b.constant(np.zeros(0, "int64"))]
        vector = b.node("Concat", *map(b.scalar, dims), axis=0) if len(dims) > 1 else (
            b.node("Identity", b.scalar(dims[0])))  # fmt: skip
        return [in_full(b, replace(vector, elements=tuple(dims)))]
    product = b.ints(1)
    for size in dims:
        product = b.node("Mul", product, b.scalar(size))
    return [b.node("Squeeze", product, b.ints(0))]


def most_of(element: Element, otherwise: int) -> int:
    """The largest that an element may be."""
    if isinstance(element, int):
        return element
    return otherwise if element is None else min(element.most, otherwise)


def _matrix(value: Value) -> list[tuple[Element, ...]]:
    elements, width = value.elements or (), value.dims[1]
    return [elements[i : i + width] for i in range(0, len(elements), width)] if width else []


def _sliced(data: tuple[Element, ...], inputs: Sequence[Value]) -> tuple[Element, ...] | None:
    known = [value.known for value in inputs[1:] if value.name]
    if len(known) < 2 or None in known or any(len(each or ()) != 1 for each in known):
        return None
    start, end = (known[i] or (0,) for i in (0, 1))
    step = known[3][0] if len(known) > 3 and known[3] else 1
    return data[slice(start[0], end[0], step)]


def _computed(operator: str, inputs: Sequence[Value], result: Value) -> tuple[Element, ...] | None:
    pairs = _columns(inputs, result)
    if pairs is None:
        return None
    return tuple(
        _one(operator, left, right, Count(result.name, place, 0))
        for place, (left, right) in enumerate(pairs)
    )


def _columns(inputs: Sequence[Value], result: Value) -> list[tuple[Element, ...]] | None:
    """The operands of each element."""
    size = math.prod(result.dims)
    columns = []
    for value in inputs:
        if value.elements is None or len(value.elements) not in (1, size):
            return None
        columns.append(value.elements * (size if len(value.elements) == 1 else 1))
    return list(zip(*columns, strict=True))


def _equal(inputs: Sequence[Value], result: Value) -> tuple[Element, ...] | None:
    pairs = _columns(inputs, result)
    if pairs is None:
        return None
    found: list[Element] = []
    for left, right in pairs:
        known = [each for each in (left, right) if isinstance(each, int)]
        if left is not None and left == right:
            found.append(1)
        elif len(known) == 2 or (len(known) == 1 and known[0] < 0 and None not in (left, right)):
            found.append(0)  # no count is below 0
        else:
            found.append(None)
    return tuple(found)


def _where(inputs: Sequence[Value], result: Value) -> tuple[Element, ...] | None:
    rows = _columns(inputs, result)
    if rows is None:
        return None
    return tuple(
        (then if condition else other) if isinstance(condition, int) else None
        for condition, then, other in rows
    )


def _one(operator: str, left: Element, right: Element, result: Count) -> Element:
    if isinstance(left, int) and isinstance(right, int):
        return _NUMBERS[operator](left, right)
    if left is None or right is None:
        known = left if right is None else right
        if operator == "Min" and known is not None:
            return replace(result, most=most_of(known, 2**31))
        return None
    neutral = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}.get(operator)
    if right == neutral and neutral is not None:
        return left
    if left == neutral and operator in ("Add", "Mul"):
        return right
    most = [most_of(each, 2**62) for each in (left, right)]
    bound = {"Add": sum(most), "Mul": math.prod(most), "Min": min(most), "Max": max(most)}
    # A difference that is a size is at most what is taken from.
    return replace(result, most=bound.get(operator, most[0]))


def _reduced(operator: str, data: tuple[Element, ...], name: str) -> Element:
    if all(isinstance(each, int) for each in data):
        known = [each for each in data if isinstance(each, int)]
        of_all: dict[str, Callable[[list[int]], int]]
        of_all = {"ReduceMin": min, "ReduceMax": max, "ReduceProd": math.prod}
        return of_all[operator](known)
    if operator == "ReduceMin":
        return Count(name, 0, min(most_of(each, 2**31) for each in data))
    if None in data:
        return None
    most = [most_of(each, 2**31) for each in data]
    return Count(name, 0, max(most) if operator == "ReduceMax" else math.prod(most))
