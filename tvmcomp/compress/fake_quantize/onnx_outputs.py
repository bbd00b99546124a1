"""The parts of an ONNX network's outputs: see :mod:`tvmcomp.quantize.output_parts`."""

from __future__ import annotations

import onnx

from tvmcomp.compress.fake_quantize.graph import Graph, attribute
from tvmcomp.frontend.onnx.node_facts import attributes_of
from tvmcomp.quantize.output_parts import (
    Joined,
    Part,
    Reshaped,
    Step,
    Transposed,
    output_parts,
)

_RESHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")


def parts_of_outputs(model: onnx.ModelProto) -> list[list[Part]]:
    """The parts of each output of ``model``, a graph of known shapes; none of one whose shape is
    not known."""
    graph = Graph(model)

    def made_by(name: str) -> Step[str]:
        node = graph.producer.get(name)
        if node is None:
            return None
        shapes = [graph.shape(each) for each in (*node.input, name)]
        if None in shapes:
            return None
        known = [shape for shape in shapes if shape is not None]
        if node.op_type == "Concat":
            axis = int(str(attribute(node, "axis", 0))) % len(known[-1])
            return Joined(axis, list(node.input), [shape[axis] for shape in known[:-1]])
        if node.op_type == "Transpose":
            rank = len(known[0])
            return Transposed(node.input[0], attributes_of(node).get("perm", range(rank)[::-1]))
        if node.op_type in _RESHAPES:
            return Reshaped(node.input[0], known[0], known[-1])
        return None

    parts: list[list[Part]] = []
    for output in model.graph.output:
        shape = graph.shape(output.name)
        parts.append([] if shape is None else output_parts(output.name, len(shape), made_by))
    return parts
