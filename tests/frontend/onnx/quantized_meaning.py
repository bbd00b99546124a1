"""What a quantized ONNX file means, in double precision: a judge of who computes it.

Each tensor that is quantized follows from the quantized tensors before it. Given what somebody
computed for all of them, every element must be the nearest step to the number that the operators
between give in float64 for *his* inputs; only where that number lies in the middle of two steps may
it be either. So a difference between two who compute the same file is either such a tie, whose
consequences each of them follows rightly, or somebody's fault.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
from onnx import helper, numpy_helper

#: How far from the middle of two steps a number may be that float32 finds on the other side.
TIE = 1e-4
MICROSOFT = "com.microsoft"
#: Quantized operator -> the standard's, and the positions of its quantized inputs.
_QLINEAR = {
    "QLinearConv": ("Conv", (0, 3)),
    "QLinearMatMul": ("MatMul", (0, 3)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearSigmoid": ("Sigmoid", (0,)),
    "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearAveragePool": ("AveragePool", (0,)),
}
_QUANTIZED = ("QuantizeLinear", *_QLINEAR)


def with_all_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` that gives every tensor that is quantized in it as well."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    types = {tensor.name: tensor.data_type for tensor in copy.graph.initializer}
    known = {output.name for output in copy.graph.output}
    for node in copy.graph.node:
        if node.op_type in _QUANTIZED and node.output[0] not in known:
            kind = types.get(_zero_point(node), onnx.TensorProto.UINT8)
            value = helper.make_tensor_value_info(node.output[0], kind, None)
            copy.graph.output.append(value)
    return copy


def _zero_point(node: onnx.NodeProto) -> str:
    position = {"QuantizeLinear": 2, "QLinearConv": 7, "QLinearMatMul": 7, "QGemm": 8}
    pair = 7 if node.op_type in ("QLinearAdd", "QLinearMul") else 4
    return node.input[position.get(node.op_type, pair)]


def faults(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], given: dict[str, np.ndarray]
) -> dict[str, float]:
    """Tensors of ``given`` with elements that are wrong, and the largest distance in steps.

    Args:
        model: quantized, of operators whose quantized tensors ``given`` has all.
        feeds: its inputs.
        given: what somebody computed for every quantized tensor.
    """
    values: dict[str, Any] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    values |= {name: array.astype("float64") for name, array in feeds.items()}
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    wrong = {}
    for node in model.graph.node:
        inputs = [values.get(name) for name in node.input]
        if node.op_type == "DequantizeLinear":
            values[node.output[0]] = _real(*inputs[:3], axis=_attribute(node, "axis", 1))
            continue
        if node.op_type not in _QUANTIZED:
            values |= zip(node.output, _standard(node, inputs, opset), strict=True)
            continue
        if node.op_type == "QuantizeLinear":
            scale, zero, axis = inputs[1], inputs[2], _attribute(node, "axis", 1)
            exact = inputs[0] / _along(scale, inputs[0], axis) + _along(zero, inputs[0], axis)
        else:
            scale, zero, exact = _qlinear(node, inputs, opset)
        exact = np.clip(exact, np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max)
        got = given[node.output[0]]
        distance = np.abs(got - exact).max(initial=0)
        if distance > 0.5 + TIE:
            wrong[node.output[0]] = float(distance)
        values[node.output[0]] = got
    return wrong


def _qlinear(node: onnx.NodeProto, inputs: list[Any], opset: int) -> tuple[Any, Any, Any]:
    """Scale and zero point of a quantized operator, and its result in steps before rounding."""
    operator, positions = _QLINEAR[node.op_type]
    axis = {"QLinearConv": 0, "QGemm": 0 if _attribute(node, "transB", 0) else 1}
    axes = [None, axis.get(node.op_type, -1)]
    operands = [_real(*inputs[p : p + 3], axis=a) for p, a in zip(positions, axes, strict=False)]
    last = 3 * len(positions)
    if node.op_type == "QLinearConv":
        scale, zero = inputs[6:8]
        bias = inputs[8] if len(inputs) > 8 else None
    elif node.op_type == "QGemm":
        scale, zero, bias = inputs[7], inputs[8], inputs[6]
    else:
        (scale, zero), bias = inputs[last : last + 2], None
    if bias is not None:
        operands.append(bias * (inputs[1].astype("float64") * inputs[4].astype("float64")))
    attributes = [a for a in node.attribute if a.name not in ("channels_last", "opset")]
    plain = helper.make_node(operator, [f"i{i}" for i in range(len(operands))], ["y"])
    plain.attribute.extend(attributes)
    (result,) = _standard(plain, operands, opset)
    return scale, zero, result / scale.astype("float64") + zero


def _real(quantized: Any, scale: Any, zero: Any = None, axis: int | None = None) -> Any:
    shift = np.int64(0) if zero is None else _along(zero.astype("int64"), quantized, axis)
    return (quantized.astype("int64") - shift) * _along(scale.astype("float64"), quantized, axis)


def _along(numbers: Any, data: Any, axis: int | None) -> Any:
    if numbers.size == 1:
        return numbers.reshape(()).astype("float64")
    shape = [1] * data.ndim
    shape[axis] = -1
    return numbers.reshape(shape)


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((a.i for a in node.attribute if a.name == name), default)


def _standard(node: onnx.NodeProto, inputs: list[Any], opset: int) -> list[np.ndarray]:
    """The results of an operator of the standard, of floats in float64."""
    inputs = [
        array.astype("float64") if array is not None and array.dtype.kind == "f" else array
        for array in inputs
    ]
    single = onnx.NodeProto.FromString(node.SerializeToString())
    names = [f"i{i}" if array is not None else "" for i, array in enumerate(inputs)]
    single.input[:] = names
    graph = helper.make_graph(
        [single],
        "one",
        [helper.make_value_info(n, onnx.TypeProto()) for n in names if n],
        [helper.make_value_info(n, onnx.TypeProto()) for n in node.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    feeds = {name: array for name, array in zip(names, inputs, strict=True) if name}
    return onnx.reference.ReferenceEvaluator(model).run(None, feeds)
