"""A fake-quantized network with its weights in plain sight, as constants of their operators."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from tvmcomp.compress.fake_quantize.finish import is_fake_quantize
from tvmcomp.compress.fake_quantize.graph import Graph, copied, kind_of, set_nodes


@dataclass(frozen=True)
class PlainView:
    """The network, and where its weights came from.

    Attributes:
        model: without the FakeQuantize of weights; activations keep theirs.
        sources: tensor of a weight in ``model`` -> the name of its FakeQuantize.
    """

    model: onnx.ModelProto
    sources: dict[str, str]


def plain_view(model: onnx.ModelProto) -> PlainView:
    """The view of ``model``; of a float network that is the network."""
    model = copied(model)
    graph = Graph(model)
    sources, gone, instead = {}, set(), {}
    for node in graph.nodes:
        if not is_fake_quantize(node):
            continue
        if not graph.is_constant(node.input[0]):  # It has its input's shape, which nobody wrote.
            shape = graph.shape(node.input[0])
            model.graph.value_info.append(
                helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, shape)
            )
            continue
        tensor, last = node.input[0], node
        value = graph.constant(tensor)
        assert value is not None
        reader = graph.only_reader(node.output[0])
        if reader is not None and kind_of(reader) == "Reshape":  # the rows of a layer's directions
            sizes = graph.constant(reader.input[1])
            assert sizes is not None
            last = reader
            tensor = graph.add_constant(f"{tensor}_whole", value.reshape(sizes.tolist()))
            gone.add(reader.name)
        gone.add(node.name)
        sources[tensor] = node.name
        instead[last.output[0]] = tensor
    nodes = [node for node in graph.nodes if node.name not in gone]
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = instead.get(name, name)
    set_nodes(model, nodes)
    return PlainView(model, sources)
