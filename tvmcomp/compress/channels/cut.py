"""A network without some of its channels: smaller weights, and numbers of nodes that follow."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from tvmcomp.compress.channels.flow import Editor
from tvmcomp.compress.channels.groups import Groups
from tvmcomp.compress.fake_quantize.graph import Graph, copied, set_nodes


def cut(groups: Groups, removed: Collection[int]) -> onnx.ModelProto:
    """A copy of the network without the classes ``removed``, the shapes of its tensors anew.

    What reads them sums over the others only. Nothing else is changed: where all that read them
    would have read zero, the network gives what it gave.
    """
    model = copied(groups.model)
    graph, flow = Graph(model), groups.flow
    for tensor in model.graph.initializer:
        array = graph.constant(tensor.name)
        assert array is not None
        smaller = array
        for i, axis in enumerate(flow.axes.get(tensor.name, ())):
            kept = groups.kept(axis, removed)
            if kept is not None and not kept.all():
                smaller = np.compress(kept, smaller, i)
        if smaller is not array:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(smaller), tensor.name))
    for node in graph.nodes:

        def set_input(place: int, value: NDArray[Any], node: onnx.NodeProto = node) -> None:
            name = graph.add_constant(f"{node.name}.{place}.cut", value)
            node.input.extend([""] * (place + 1 - len(node.input)))
            node.input[place] = name

        editor = Editor(node, lambda axis: groups.kept(axis, removed), set_input)
        for edit in flow.edits.get(node.name, ()):
            edit(editor)
    for value in model.graph.value_info:
        dims = value.type.tensor_type.shape.dim
        for axis, dim in zip(flow.axes.get(value.name, ()), dims, strict=False):
            kept = groups.kept(axis, removed)
            if kept is not None:
                dim.dim_value = int(kept.sum())
    set_nodes(model, graph.nodes)
    return model
