"""Cases of operators that combine the elements along axes."""

from __future__ import annotations

import math

import numpy as np

from operator_cases.draw import Draw, generates


@generates(
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
def reduction(draw: Draw) -> None:
    without = ("uint32", "uint64", "int64") if "Log" in draw.operator else ()
    if draw.operator == "ReduceLogSumExp":  # ONNX Runtime cuts off each power of an integer
        without = (*without, "int32")
    dtype, shape = draw.dtype(without=without), draw.shape(0 if draw.opset >= 18 else 1, 4)
    low, high = (0.2, 1.3) if draw.operator in ("ReduceProd", "ReduceLogSum") else (-4, 4)
    if np.dtype(dtype).kind in "iu" and low == 0.2:  # products beyond the type have no one answer
        low, high = 1, 2 if math.prod(shape) < 30 else 1
    x = draw.tensor(draw.array(dtype, shape, low, high))
    attributes = draw.maybe(keepdims=draw.size(0, 1))
    axes = draw.axes(len(shape)) if shape else []
    if draw.opset < (13 if draw.operator == "ReduceSum" else 18):
        draw.node([x], **attributes, **(draw.maybe(axes=axes) if axes else {}))
        return
    if draw.chance(0.2):
        attributes["noop_with_empty_axes"] = draw.size(0, 1)
        axes = axes if draw.chance(0.4) else []
    given = [draw.constant(np.array(axes, "int64"))] if draw.chance(0.8) else []
    draw.node([x, *given], **attributes)


@generates("ArgMax", "ArgMin")
def arg_reduction(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    array = np.round(draw.array(dtype, shape)).astype(dtype)  # with values that appear twice
    attributes = draw.maybe(axis=draw.axis(len(shape)), keepdims=draw.size(0, 1))
    if draw.opset >= 12:
        attributes |= draw.maybe(select_last_index=draw.size(0, 1))
    draw.node([draw.tensor(array)], **attributes)


@generates("TopK")
def top_k(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    axis = draw.axis(len(shape))
    k = draw.size(1, shape[axis])
    count = int(np.prod(shape))
    values = draw.rng.permutation(count)  # all different where the type has enough values
    array = (values % 120 if np.dtype(dtype).itemsize == 1 else values).astype(dtype)
    x = draw.input(array.reshape(shape))
    attributes = {"axis": axis}
    if draw.opset < 10:
        draw.node([x], 2, k=k, **attributes)
        return
    if draw.opset >= 11:
        attributes |= draw.maybe(largest=draw.size(0, 1), sorted=1)
    draw.node([x, draw.constant(np.array([k]))], 2, **attributes)


@generates("CumSum", "CumProd")
def cumulative_sum(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    axis = draw.constant(np.asarray(draw.axis(len(shape)), draw.choose(["int32", "int64"])))
    attributes = draw.maybe(exclusive=draw.size(0, 1), reverse=draw.size(0, 1))
    draw.node([draw.tensor(draw.array(dtype, shape)), axis], **attributes)


@generates("Softmax", "LogSoftmax", "Hardmax")
def softmax(draw: Draw) -> None:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    if draw.opset < 13 and draw.operator == "Hardmax":
        dtype = "float32"  # ONNX Runtime's only one; onnx's reference knows the later meaning only
    if draw.opset < 13 and len(shape) == 1:
        shape = [*shape, 3]  # the default axis is 1
    x = draw.tensor(draw.array(dtype, shape))
    draw.node([x], **draw.maybe(axis=draw.axis(len(shape))))
