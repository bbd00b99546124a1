"""A network in which operators are written by their factors, and biases make up for the rest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.shape_inference

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, attribute, copied, kind_of, set_nodes
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.low_rank.forms import Factored, write
from tvmcomp.compress.low_rank.moments import Moments


def replaced(model: onnx.ModelProto, replacements: Mapping[str, Factored]) -> onnx.ModelProto:
    """A copy of ``model``, a prepared graph, with other operators for those named."""
    model = copied(model)
    graph = Graph(model)
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        if node.name not in replacements:
            nodes.append(node)
            continue
        each = replacements[node.name]
        if has_bias(graph, node, each.weight):
            _add_to_bias(graph, node, each.shift)
        nodes += write(graph, node, each.weight, each.form, each.matrices)
    set_nodes(model, nodes)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def seen_moments(graph: Graph, node: onnx.NodeProto, weight: Weight, found: Moments) -> Moments:
    """The moments that count: about the mean only where a bias makes up for it."""
    if has_bias(graph, node, weight):
        return found
    return Moments(found.mean, found.square + np.outer(found.mean, found.mean))


def has_bias(graph: Graph, node: onnx.NodeProto, weight: Weight) -> bool:
    """Whether the node adds one number an output, or can."""
    if weight.role == roles.CONVOLUTION:
        return len(node.input) < 3 or graph.is_constant(node.input[2])
    if weight.role != roles.PRODUCT:
        return False
    if kind_of(node) == "Gemm":
        if len(node.input) < 3 or not node.input[2]:
            return True
        bias = graph.constant(node.input[2])
        plain = attribute(node, "beta", 1.0) == 1.0
        return bias is not None and bias.size == weight.scales and plain
    return _behind(graph, node, weight) is not None


def _behind(
    graph: Graph, node: onnx.NodeProto, weight: Weight
) -> tuple[onnx.NodeProto, int] | None:
    """The addition of a bias behind a MatMul, and which of its inputs that is."""
    reader = graph.only_reader(node.output[0])
    if reader is None or kind_of(reader) != "Add" or len(set(reader.input)) != 2:
        return None
    place = 1 if reader.input[0] == node.output[0] else 0
    bias = graph.constant(reader.input[place])
    whole = bias is not None and bias.shape[-1:] == (weight.scales,) and bias.size == weight.scales
    return (reader, place) if whole else None


def _add_to_bias(graph: Graph, node: onnx.NodeProto, shift: np.ndarray) -> None:
    holder, place = node, 2
    if kind_of(node) == "MatMul":
        reader = graph.only_reader(node.output[0])
        assert reader is not None
        holder, place = reader, 1 if reader.input[0] == node.output[0] else 0
    old = None
    if len(holder.input) > place and holder.input[place]:
        old = graph.constant(holder.input[place])
    if old is None:
        value = shift.astype(np.float32)
    else:
        value = (old.astype(np.float64) + shift.reshape(old.shape)).astype(np.float32)
    name = graph.add_constant(f"{node.name}.bias.low_rank", value)
    if len(holder.input) > place:
        holder.input[place] = name
    else:
        holder.input.append(name)
