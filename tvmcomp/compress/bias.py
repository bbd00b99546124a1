"""The bias of an operator, which takes up what a changed weight loses in the mean."""

from __future__ import annotations

import numpy as np
import onnx

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, attribute, kind_of
from tvmcomp.compress.fake_quantize.weights import Weight


def has_bias(graph: Graph, node: onnx.NodeProto, weight: Weight) -> bool:
    """Whether ``node``, an operator with ``weight``, adds one number an output, or can."""
    if weight.role in (roles.CONVOLUTION, roles.TRANSPOSED):
        return len(node.input) < 3 or not node.input[2] or graph.is_constant(node.input[2])
    if weight.role != roles.PRODUCT:
        return False
    if kind_of(node) == "Gemm":
        if len(node.input) < 3 or not node.input[2]:
            return True
        bias = graph.constant(node.input[2])
        plain = attribute(node, "beta", 1.0) == 1.0
        return bias is not None and bias.size == weight.scales and plain
    reader = graph.only_reader(node.output[0])
    if reader is None or kind_of(reader) != "Add" or len(set(reader.input)) != 2:
        return False
    bias = graph.constant(reader.input[_place(node, reader)])
    return bias is not None and bias.shape[-1:] == (weight.scales,) and bias.size == weight.scales


def add_to_bias(graph: Graph, node: onnx.NodeProto, shift: np.ndarray) -> None:
    """Add ``shift``, one number an output, to the results of ``node``, which has or can have a
    bias; it gets a constant of its own."""
    holder, place = node, 2
    if kind_of(node) == "MatMul":
        reader = graph.only_reader(node.output[0])
        assert reader is not None
        holder, place = reader, _place(node, reader)
    old = None
    if len(holder.input) > place and holder.input[place]:
        old = graph.constant(holder.input[place])
    if old is None:
        value = shift.astype(np.float32)
    else:
        value = (old.astype(np.float64) + shift.reshape(old.shape)).astype(np.float32)
    name = graph.add_constant(f"{node.name}.bias.shifted", value)
    if len(holder.input) > place:
        holder.input[place] = name
    else:
        holder.input.append(name)


def _place(node: onnx.NodeProto, addition: onnx.NodeProto) -> int:
    return 1 if addition.input[0] == node.output[0] else 0
