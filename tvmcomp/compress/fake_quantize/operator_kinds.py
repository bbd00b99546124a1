"""What quantization asks of each ONNX operator, as :mod:`tvmcomp.passes` does of Relax's.

An operator is of the kind of what the importer makes of it: a HardSwish is an addition, a clip and
products on one tensor, a ReduceMax is a maximum.
"""

from __future__ import annotations

import math

import onnx

from tvmcomp.compress.fake_quantize.graph import Graph, attribute, kind_of
from tvmcomp.frontend.onnx.recurrent_rules import KINDS

CONVOLUTIONS = frozenset(["Conv", "ConvTranspose"])
PRODUCTS = frozenset(["Gemm", "MatMul"])
RECURRENT = frozenset(kind for kind in KINDS if kind in ("GRU", "LSTM", "RNN"))
TWO_OPERANDS = frozenset(["Add", "Mul", "Sub", "Max", "Min", "Sum"])
#: Of one tensor, with two operands where the others are single numbers.
_BINARY = TWO_OPERANDS | {"Div", "Pow"}

#: Done in the registers of the kernel before: see ``tvmcomp.passes.elementwise.CHEAP``.
_CHEAP = frozenset(
    ["Abs", "Add", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish",
     "LeakyRelu", "Max", "Min", "Mul", "Neg", "Relu", "Selu", "Sigmoid", "Sub", "Sum", "Swish",
     "Tanh", "com.microsoft.Gelu"]
)  # fmt: skip
_UNARY = frozenset(
    [*(_CHEAP - _BINARY), "Acos", "Asin", "Atan", "Ceil", "Cos", "Cosh", "Floor", "Log", "Mish",
     "Reciprocal", "Round", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan",
     "com.microsoft.FastGelu"]
)  # fmt: skip
#: Quantized data passes through these as it is.
_MOVES = frozenset(
    ["Concat", "DepthToSpace", "Expand", "Flatten", "GlobalMaxPool", "Identity", "MaxPool",
     "ReduceMax", "ReduceMin", "Reshape", "Slice", "Split", "SpaceToDepth", "Squeeze", "Tile",
     "Transpose", "Unsqueeze"]
)  # fmt: skip
_AVERAGES = frozenset(["AveragePool", "GlobalAveragePool", "ReduceMean"])


def is_cheap(node: onnx.NodeProto) -> bool:
    """Whether the operator costs next to nothing behind an anchor, in registers."""
    kind = kind_of(node)
    if kind == "Gelu":
        return attribute(node, "approximate", "none") == "none"
    return kind in _CHEAP


def passes_through(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether the operator merely moves data, so that quantization commutes with it."""
    kind = kind_of(node)
    if kind == "MaxPool":
        return len([name for name in node.output if name]) == 1
    if kind in ("Resize", "Upsample"):
        shape = graph.shape(node.input[0])
        return attribute(node, "mode", "nearest") == "nearest" and len(shape or ()) == 4
    if kind == "Pad":
        constant = all(graph.is_constant(name) for name in node.input[1:] if name)
        return attribute(node, "mode", "constant") == "constant" and constant
    return kind in _MOVES


def moved(graph: Graph, node: onnx.NodeProto) -> list[str]:
    """The tensors that an operator which passes data through reads, without its settings."""
    names = node.input if kind_of(node) == "Concat" else node.input[:1]
    return [name for name in names if not graph.is_constant(name)]


def is_average(node: onnx.NodeProto) -> bool:
    """Whether the operator averages, which integers do by their sum."""
    return kind_of(node) in _AVERAGES


def unary_sources(graph: Graph) -> dict[str, str]:
    """For each result of a chain of element-wise operators on one tensor, that tensor."""
    source: dict[str, str] = {}
    for node in graph.nodes:
        kind = kind_of(node)
        if kind not in _UNARY | _BINARY:
            continue
        names = [name for name in node.input if name]
        tensors = [name for name in names if not graph.is_constant(name)]
        scalars = [name for name in names if graph.is_constant(name)]
        roots = {source.get(name, name) for name in tensors}
        if len(roots) != 1 or any(math.prod(graph.shape(name) or ()) != 1 for name in scalars):
            continue
        if kind in _BINARY and len(names) != 2:
            continue
        root = roots.pop()
        if graph.is_float(root) and graph.shape(root) == graph.shape(node.output[0]):
            source[node.output[0]] = root
    return source
