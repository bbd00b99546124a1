"""A network in which operators are written by their factors, and biases make up for the rest."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx.shape_inference

from tvmcomp.compress.bias import add_to_bias, has_bias
from tvmcomp.compress.fake_quantize.graph import Graph, copied, set_nodes
from tvmcomp.compress.low_rank.forms import Factored, write


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
            add_to_bias(graph, node, each.shift)
        nodes += write(graph, node, each.weight, each.form, each.matrices)
    set_nodes(model, nodes)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)
