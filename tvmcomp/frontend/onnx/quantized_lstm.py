"""``tvmcomp.QuantizedLSTM``: an LSTM in integers alone, as an operator of a domain of our own.

    Y = QuantizedLSTM(X, W, R, B)

X is int8 ``[T, B, I]``, W int8 ``[4H, I]``, R int8 ``[4H, H]``, B int32 ``[4H]``, their gates in
ONNX's order; Y is int8 ``[T, B, H]``. The standard has no words for what is between them: gates and
cell in 16 bits, the rounding of every product (:mod:`tvmcomp.fixed_point`), and states that are
given in one scale (``y``) and multiplied as if they were in another (``h``). So the operator is a
function of the model, whose body says in real numbers what the layer is: any tool can run it, near
to what it means. We import the operator itself, and compute what it means to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import AttributeProto, helper

from tvmcomp.frontend.onnx.node_facts import NodeFacts

DOMAIN = "tvmcomp"
QUANTIZED_LSTM = "QuantizedLSTM"

#: Attribute -> its type, and the attribute of Constant that holds it in the function's body.
_ATTRIBUTES = {
    "x_scale": (AttributeProto.FLOAT, "value_float"),
    "x_zero_point": (AttributeProto.INT, "value_int"),
    "w_scales": (AttributeProto.FLOATS, "value_floats"),
    "r_scales": (AttributeProto.FLOATS, "value_floats"),
    "y_scale": (AttributeProto.FLOAT, "value_float"),
    "y_zero_point": (AttributeProto.INT, "value_int"),
    "h_scale": (AttributeProto.FLOAT, "value_float"),
    "h_zero_point": (AttributeProto.INT, "value_int"),
    "cell_exponent": (AttributeProto.INT, "value_int"),
    "cell_clip": (AttributeProto.FLOAT, "value_float"),
    "hidden_size": (AttributeProto.INT, "value_int"),
}


def is_quantized_lstm(node: onnx.NodeProto) -> bool:
    """Whether ``node`` is this operator."""
    return node.domain == DOMAIN and node.op_type == QUANTIZED_LSTM


def add_function(model: onnx.ModelProto) -> None:
    """Add the function, and its domain, to a model that calls it."""
    if DOMAIN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    standard = [each for each in model.opset_import if not each.domain]
    model.functions.append(_function(standard))


def keep_operator(model: onnx.ModelProto) -> None:
    """Take the function out of a model that is to be inlined: its calls stay."""
    kept = [f for f in model.functions if (f.domain, f.name) != (DOMAIN, QUANTIZED_LSTM)]
    del model.functions[:]
    model.functions.extend(kept)


def check_quantized_lstm(node: NodeFacts) -> None:
    """Raise ValueError where a node has other inputs, outputs or attributes than the operator."""
    given = node.node
    if len(given.input) != 4 or not all(given.input) or len(given.output) != 1:
        raise ValueError("it must have 4 inputs and one output")
    for name, (kind, _) in _ATTRIBUTES.items():
        types = [attribute.type for attribute in given.attribute if attribute.name == name]
        if types != [kind]:
            raise ValueError(f"its attribute {name} is left out, or of another type")
    for name in ("w_scales", "r_scales"):
        if len(node.attributes[name]) != 4:
            raise ValueError(f"its {name} are {len(node.attributes[name])}, and must be 4")


def _function(standard: Sequence[onnx.OperatorSetIdProto]) -> onnx.FunctionProto:
    """The function, its body in the operator sets ``standard``."""
    nodes: list[onnx.NodeProto] = []

    def node(kind: str, *inputs: str, name: str = "", **attributes: object) -> str:
        output = name or f"v{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def ints(*values: int) -> str:
        return node("Constant", value_ints=list(values))

    def real(value: str) -> str:
        return node("Cast", value, to=onnx.TensorProto.FLOAT)

    def attribute(name: str) -> str:
        kind, field = _ATTRIBUTES[name]
        value = node("Constant")
        reference = AttributeProto(name=field, ref_attr_name=name, type=kind)
        nodes[-1].attribute.append(reference)
        return value

    def by_gate(value: str, scales: str) -> str:
        """A vector or matrix whose rows are the gates' in turn, each times its gate's scale."""
        gates = node("Reshape", real(value), ints(4, -1))
        scaled = node("Mul", gates, node("Unsqueeze", scales, ints(1)))
        return node("Unsqueeze", node("Reshape", scaled, node("Shape", value)), ints(0))

    x_scale, w_scales = attribute("x_scale"), attribute("w_scales")
    x = node("Mul", node("Sub", real("X"), real(attribute("x_zero_point"))), x_scale)
    weight, recurrent = by_gate("W", w_scales), by_gate("R", attribute("r_scales"))
    bias = node("Mul", by_gate("B", w_scales), x_scale)
    none = node("Mul", bias, node("Constant", value_float=0.0))
    biases = node("Concat", bias, none, axis=1)
    states = node("LSTM", x, weight, recurrent, biases)
    hidden = AttributeProto(
        name="hidden_size", ref_attr_name="hidden_size", type=AttributeProto.INT
    )
    nodes[-1].attribute.append(hidden)
    states = node("Squeeze", states, ints(1))
    zero = node("Cast", attribute("y_zero_point"), to=onnx.TensorProto.INT8)
    node("QuantizeLinear", states, attribute("y_scale"), zero, name="Y")
    return helper.make_function(
        DOMAIN, QUANTIZED_LSTM, ["X", "W", "R", "B"], ["Y"], nodes, standard, list(_ATTRIBUTES)
    )
