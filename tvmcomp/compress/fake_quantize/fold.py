"""Constants that scale or shift an anchor's results, folded into its weight and bias.

    Conv(x, w) * s              ->  Conv(x, w * s)
    Conv(x, w, b) + c           ->  Conv(x, w, b + c)
    alpha * x B + beta * c      ->  x (alpha B) + (beta c)
    (MatMul(x, w) + b) * s      ->  MatMul(x, w * s) + b * s

for constants of one number, or one an output channel, where nothing else reads what is between:
what would have to be rounded is then a weight that is rounded anyway, as
:mod:`tvmcomp.passes.canonical.fold_scale` does of float networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx

from tvmcomp.compress.fake_quantize.graph import Graph, attribute, copied, kind_of, set_nodes
from tvmcomp.compress.fake_quantize.operator_kinds import CONVOLUTIONS, PRODUCTS

_FOLDABLE = frozenset(["Add", "Sub", "Mul", "Div"])


@dataclass
class _Affine:
    """``anchor(x, weight * scale) + bias``, and the nodes behind the anchor that this is."""

    scale: np.ndarray
    bias: np.ndarray | None
    nodes: list[onnx.NodeProto]


def fold_affine(model: onnx.ModelProto) -> onnx.ModelProto:
    """Apply the rules above to a copy of ``model``, a prepared graph."""
    model = copied(model)
    graph = Graph(model)
    gone: set[str] = set()
    behind: dict[str, onnx.NodeProto] = {}
    for node in graph.nodes:
        if kind_of(node) not in CONVOLUTIONS | PRODUCTS or node.name in gone:
            continue
        if kind_of(node) == "ConvTranspose" and attribute(node, "group", 1) != 1:
            continue
        weight = graph.constant(node.input[1])
        if weight is None or weight.dtype != np.float32 or not _bias_is_constant(graph, node):
            continue
        addition = _fold(graph, node, weight, gone)
        if addition is not None:
            behind[node.name] = addition
    nodes = []
    for node in graph.nodes:
        if node.name not in gone:
            nodes.append(node)
        if node.name in behind:
            nodes.append(behind[node.name])
    set_nodes(model, nodes)
    return model


def _bias_is_constant(graph: Graph, node: onnx.NodeProto) -> bool:
    if len(node.input) < 3 or not node.input[2]:
        return True
    value = graph.constant(node.input[2])
    rows = kind_of(node) == "Gemm" and value is not None and value.ndim == 2
    return value is not None and not (rows and value.shape[0] != 1)


def _fold(
    graph: Graph, node: onnx.NodeProto, weight: np.ndarray, gone: set[str]
) -> onnx.NodeProto | None:
    """Fold what follows ``node`` into it; the addition that a MatMul needs behind it, or None."""
    kind = kind_of(node)
    axis = _output_axis(node, weight)
    affine = _affine(graph, node, weight.shape[axis])
    product = kind == "MatMul"
    plain = (affine.scale == 1).all() and attribute(node, "beta", 1.0) == 1.0
    if plain and len(affine.nodes) <= int(product):  # A MatMul has its bias behind it.
        return None
    along = [-1 if i == axis else 1 for i in range(weight.ndim)]
    scaled = (weight * affine.scale.reshape(along)).astype(np.float32)
    bias = None if affine.bias is None else affine.bias.astype(np.float32)
    if not np.isfinite(scaled).all() or (bias is not None and not np.isfinite(bias).all()):
        return None
    gone.update(each.name for each in affine.nodes)
    last = affine.nodes[-1].output[0] if affine.nodes else node.output[0]
    node.input[1] = graph.add_constant(f"{node.name}.weight.scaled", scaled)
    del node.input[2:]
    kept = [each for each in node.attribute if each.name not in ("alpha", "beta")]
    del node.attribute[:]
    node.attribute.extend(kept)
    name = None if bias is None else graph.add_constant(f"{node.name}.bias.folded", bias)
    if name is not None and product:
        return onnx.helper.make_node("Add", [node.output[0], name], [last], name)
    if name is not None:
        node.input.append(name)
    node.output[0] = last
    return None


def _affine(graph: Graph, node: onnx.NodeProto, channels: int) -> _Affine:
    scale = np.full(channels, attribute(node, "alpha", 1.0), np.float64)
    bias = None
    given = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if given is not None:
        beta = np.float64(cast("float", attribute(node, "beta", 1.0)))
        bias = np.broadcast_to(given.reshape(-1).astype(np.float64) * beta, channels)
    found = _Affine(scale, bias, [])
    current = node
    while True:
        reader = graph.only_reader(current.output[0])
        if reader is None or kind_of(reader) not in _FOLDABLE:
            return found
        first = reader.input[0] == current.output[0]
        other = graph.constant(reader.input[1] if first else reader.input[0])
        if other is None or other.dtype != np.float32 or len(set(reader.input)) != 2:
            return found
        if graph.shape(current.output[0]) != graph.shape(reader.output[0]):
            return found
        value = _per_channel(graph, node, other, channels)
        if value is None or (not first and kind_of(reader) in ("Sub", "Div")):
            return found
        kind = kind_of(reader)
        if kind in ("Add", "Sub"):
            shift = value if kind == "Add" else -value
            found.bias = shift if found.bias is None else found.bias + shift
        else:
            with np.errstate(divide="ignore"):
                factor = value if kind == "Mul" else 1 / value
            found.scale = found.scale * factor
            found.bias = None if found.bias is None else found.bias * factor
        found.nodes.append(reader)
        current = reader


def _per_channel(
    graph: Graph, node: onnx.NodeProto, value: np.ndarray, channels: int
) -> np.ndarray | None:
    """A constant that is one number or one a channel of the node's results, as a vector."""
    rank = len(graph.shape(node.output[0]) or ())
    if value.size == 1 and value.ndim <= rank:
        return np.full(channels, value.reshape(-1)[0], np.float64)
    axis = 1 if kind_of(node) in CONVOLUTIONS else rank - 1
    whole = (1,) * (rank - value.ndim) + value.shape
    wanted = tuple(channels if i == axis else 1 for i in range(rank))
    return value.reshape(-1).astype(np.float64) if whole == wanted else None


def _output_axis(node: onnx.NodeProto, weight: np.ndarray) -> int:
    kind = kind_of(node)
    if kind == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    if kind == "MatMul":
        return weight.ndim - 1
    return 0 if kind == "Conv" else 1
