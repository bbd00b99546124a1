"""Operators that sum up or order along an axis whose size depends on data, and products."""

from __future__ import annotations

import numpy as np
import onnx

from tvmcomp.frontend.onnx.bounded.bounding import Bounding
from tvmcomp.frontend.onnx.bounded.values import Value
from tvmcomp.frontend.onnx.node_facts import attributes_of

#: What a place that is not real holds, to change nothing.
_NEUTRAL = {
    "ArgMax": -np.inf, "ArgMin": np.inf, "ReduceL1": 0.0, "ReduceL2": 0.0,
    "ReduceLogSumExp": -np.inf, "ReduceMax": -np.inf, "ReduceMin": np.inf, "ReduceProd": 1.0,
    "ReduceSum": 0.0, "ReduceSumSquare": 0.0, "ReduceMean": 0.0, "ReduceLogSum": 0.0,
}  # fmt: skip


def reduce(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """ReduceMax and the like: what is not real takes no part."""
    data = values[0]
    if data.length is None:
        return None
    attributes, rank = attributes_of(node), len(data.dims)
    if node.op_type in ("ArgMax", "ArgMin"):
        axes: tuple[int, ...] | None = (attributes.get("axis", 0),)
    else:
        given = values[1].known if len(values) > 1 and values[1].name else None
        axes = attributes.get("axes", given)
        if not axes:
            axes = () if attributes.get("noop_with_empty_axes", 0) else tuple(range(rank))
    over = sorted(axis % rank for axis in axes or ())
    axis, count = data.length.axis, data.length.count
    if axis not in over:
        (result,) = b.same(node, values)
        if not attributes.get("keepdims", 1):
            axis -= sum(each < axis for each in over)
        return [b.with_length(result, axis, count)]
    if attributes.get("select_last_index", 0):
        raise ValueError("it takes the last of equal elements, and how many there are is data")
    results = b.same(node, [b.filled(data, _NEUTRAL[node.op_type]), *values[1:]])
    if node.op_type == "ReduceMean":
        # The sum was divided by the bound. The mean of nothing is 0 in ONNX Runtime.
        bound, counted = (b.node("Cast", each, to=data.dtype) for each in
                          (b.ints(data.dims[axis]), b.scalar(count)))  # fmt: skip
        one = b.constant(np.array(1, onnx.helper.tensor_dtype_to_np_dtype(data.dtype)))
        factor = b.node("Div", bound, b.node("Max", counted, one))
        shape = b.constant(np.array(results[0].dims, "int64"))
        return [b.node("Reshape", b.node("Mul", results[0], factor), shape)]
    return results


def softmax(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Softmax and LogSoftmax of set 13."""
    data = values[0]
    if data.length is None:
        return None
    same_axis = attributes_of(node).get("axis", -1) % len(data.dims) == data.length.axis
    if b.opset < 13:
        raise ValueError("it flattens a tensor whose size depends on data")
    (result,) = b.same(node, [b.filled(data, -1e30) if same_axis else data])
    return [b.with_length(result, data.length.axis, data.length.count)]


def cum_sum(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """CumSum."""
    data = values[0]
    if data.length is None:
        return None
    (result,) = b.same(node, [b.filled(data, 0), *values[1:]])
    return [b.with_length(result, data.length.axis, data.length.count)]


def product(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """MatMul and Gemm, whose rows, or whose sums, are as long as data says."""
    left, right = values[:2]
    if left.length is None and right.length is None:
        return None
    attributes = attributes_of(node)
    if any(value.length is not None for value in values[2:]):
        raise ValueError("its bias's size depends on data")
    summed = [
        len(left.dims) - (2 if attributes.get("transA") and len(left.dims) > 1 else 1),
        max(len(right.dims) - (1 if attributes.get("transB") else 2), 0),
    ]
    inner = [
        value.length is not None and value.length.axis == axis
        for value, axis in zip((left, right), summed, strict=True)
    ]
    rank = max(len(left.dims), len(right.dims))
    if any(inner):
        (result,) = b.same(node, [b.filled(left, 0), b.filled(right, 0), *values[2:]])
        if not all(value.length is None or own for value, own in
                   zip((left, right), inner, strict=True)):  # fmt: skip
            raise ValueError("its operands have sizes that depend on data in different ways")
        return [result]
    if rank > 2 and min(len(left.dims), len(right.dims)) == 1:
        return None
    found = set()
    for value, swapped in (
        (left, attributes.get("transA", 0)),
        (right, attributes.get("transB", 0)),
    ):
        if value.length is not None:
            axis = 1 - value.length.axis if swapped else value.length.axis
            found.add((axis + rank - len(value.dims), value.length.count))
    if len(found) != 1:
        raise ValueError("two of its axes have sizes that depend on data")
    ((axis, count),) = found
    return [b.with_length(b.same(node, values)[0], axis, count)]


def roi_align(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """RoiAlign: a region of an image each."""
    data, regions, images = values
    if data.length is not None or regions.length is None:
        return None
    (result,) = b.same(node, [data, b.filled(regions, 0), b.filled(images, 0)])
    return [b.with_length(result, 0, regions.length.count)]


RULES = {
    **dict.fromkeys(_NEUTRAL, reduce),
    "CumSum": cum_sum,
    "Gemm": product,
    "LogSoftmax": softmax,
    "MatMul": product,
    "RoiAlign": roi_align,
    "Softmax": softmax,
}
