"""Some operators of a graph, cut out as a model of their own."""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import helper

from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.errors import ModelError


def submodel(model: onnx.ModelProto, nodes: Collection[str]) -> onnx.ModelProto:
    """The nodes called ``nodes`` of ``model`` as a model: what they read of others are its inputs,
    and what others read of them are its outputs.

    Args:
        model: a prepared graph.
        nodes: names.

    Raises:
        ModelError: the shape of a tensor at its border is not known.
    """
    graph = Graph(model)
    chosen = [node for node in graph.nodes if node.name in nodes]
    own = {name for node in chosen for name in node.output if name}
    read = dict.fromkeys(name for node in chosen for name in node.input if name)
    inputs = [name for name in read if name not in own and not graph.is_constant(name)]
    outside = {name for node in graph.nodes if node.name not in nodes for name in node.input}
    outside |= {value.name for value in model.graph.output}
    outputs = [name for node in chosen for name in node.output if name in outside]
    known = {
        value.name: value
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
    }
    missing = [name for name in (*inputs, *outputs) if graph.shape(name) is None]
    if missing:
        raise ModelError(f"the shape of {missing[0]!r} is not known")
    cut = helper.make_graph(
        chosen,
        "cut",
        [known[name] for name in inputs],
        [known[name] for name in outputs],
        [tensor for tensor in model.graph.initializer if tensor.name in read],
        value_info=[known[name] for name in own - set(outputs) if name in known],
    )
    made = helper.make_model(cut, opset_imports=model.opset_import)
    made.ir_version = model.ir_version
    return made
