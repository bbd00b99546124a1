"""Operators that go element by element, and those that leave one axis as it is."""

from __future__ import annotations

import onnx

from tvmcomp.frontend.onnx.bounded.bounding import Bounding
from tvmcomp.frontend.onnx.bounded.values import Count, Value
from tvmcomp.frontend.onnx.node_facts import attributes_of

#: They compute every element of its own, or of those at the same place.
ELEMENTWISE = {
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift",
    "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu",
    "Clip", "Cos", "Cosh", "DequantizeLinear", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu",
    "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu",
    "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh",
    "ThresholdedRelu", "Where", "Xor",
}  # fmt: skip

#: They compute along other axes than the first, where they see images or rows.
_BATCHED = {
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool",
    "GlobalMaxPool", "InstanceNormalization", "LRN", "MaxPool", "Resize", "DepthToSpace",
    "SpaceToDepth", "GroupNormalization",
}  # fmt: skip


def elementwise(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value]:
    """One real element after the other: what is not real stays so."""
    rank = max(len(value.dims) for value in values if value.name)
    found: dict[int, set[Count]] = {}
    for value in values:
        if value.length is not None:
            found.setdefault(value.length.axis + rank - len(value.dims), set()).add(
                value.length.count
            )
    ((axis, counts),) = found.items() if len(found) == 1 else [(-1, set())]
    if axis < 0:
        raise ValueError("two of its axes have sizes that depend on data")
    sizes = {
        value.dims[axis - rank] for value in values if value.name and len(value.dims) >= rank - axis
    }
    if len(counts) != 1 or len(sizes - {1}) > 1:
        raise ValueError("its operands have sizes that depend on data in different ways")
    return [b.with_length(b.same(node, values)[0], axis, counts.pop())]


def along_another_axis(
    b: Bounding, node: onnx.NodeProto, values: list[Value]
) -> list[Value] | None:
    """Operators that read along an axis, or that see a batch, and leave the counted axis alone."""
    data = values[0]
    if data.length is None or any(value.length for value in values[1:]):
        return None
    axis, rank = data.length.axis, len(data.dims)
    attributes = attributes_of(node)
    if node.op_type in _BATCHED:
        apart = axis == 0
    elif node.op_type in ("LayerNormalization", "RMSNormalization"):
        apart = axis < attributes.get("axis", -1) % rank
    elif node.op_type == "Pad":
        pads = b.array(values[1]) if len(values) > 1 else None
        apart = pads is not None and len(values) < 4 and not pads[[axis, axis + rank]].any()
    else:  # of one axis
        default = {"Split": 0, "GatherElements": 0}.get(node.op_type, -1)
        apart = attributes.get("axis", default) % rank != axis
    if not apart:
        return None
    results = b.same(node, values)
    return [b.with_length(result, axis, data.length.count) for result in results if result.name]


#: They read along one axis, their attribute's.
_OF_ONE_AXIS = {"Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "Split"}

RULES = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(
        _BATCHED | _OF_ONE_AXIS | {"LayerNormalization", "Pad", "RMSNormalization"},
        along_another_axis,
    ),
}
