"""Operators that compute each element by itself: all that broadcasts together is one axis."""

from __future__ import annotations

from collections.abc import Sequence

from tvmcomp.compress.channels.classes import Axis
from tvmcomp.compress.channels.flow import NodeFlow
from tvmcomp.compress.channels.rules.table import rule

_OF_ONE = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil", "Celu",
    "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity",
    "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round",
    "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish",
    "Tan", "Tanh", "ThresholdedRelu", "com.microsoft.Gelu", "com.microsoft.QuickGelu",
)  # fmt: skip
_OF_SEVERAL = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater",
    "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu",
    "Pow", "Sub", "Sum", "Where", "Xor", "com.microsoft.BiasGelu", "com.microsoft.FastGelu",
)  # fmt: skip
#: These have settings behind their first input.
_OF_THE_FIRST = ("CastLike", "Clip", "Dropout")


@rule(*_OF_ONE, *_OF_THE_FIRST)
def first_input(node: NodeFlow) -> None:
    """The outputs have the axes of the first input."""
    node.gives(*[node.axes(0)] * len(node.outputs))


@rule(*_OF_SEVERAL)
def broadcast(node: NodeFlow) -> None:
    """Align the inputs at their last axes."""
    places = [place for place in range(len(node.inputs)) if node.has(place)]
    rank = max(len(node.axes(place)) for place in places)
    node.gives(broadcast_axes(node, places, rank))


def broadcast_axes(node: NodeFlow, places: Sequence[int], rank: int) -> list[Axis]:
    """The axes of what the inputs at ``places`` give together: the last ``rank`` of theirs, tied
    where none is of size 1."""
    axes: list[Axis] = []
    for from_end in range(rank, 0, -1):
        meeting = []
        for place in places:
            shape = node.shape(node.inputs[place])
            if len(shape) >= from_end and shape[-from_end] != 1:
                meeting.append(node.axes(place)[-from_end])
        axis = meeting[0] if meeting else None
        for other in meeting[1:]:
            axis = node.unify(axis, other)
        axes.append(axis)
    return axes
