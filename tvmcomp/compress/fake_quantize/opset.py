"""A model in a later operator set, which scales of an axis and 4-bit weights need."""

from __future__ import annotations

from itertools import chain, count

import onnx
import onnx.version_converter

from tvmcomp.compress.fake_quantize.graph import set_nodes
from tvmcomp.frontend.onnx.file import opset_version


def at_least(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``model`` in operator set ``opset`` where it is of an earlier one and can be, else itself.

    Args:
        model: a prepared graph, as what comes out is: constants are initializers, and each node has
            a name of its own.
        opset: the least set.
    """
    if opset_version(model) >= opset:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, opset)
        onnx.checker.check_model(converted)
    except (RuntimeError, ValueError, onnx.checker.ValidationError):
        return model
    return _prepared(converted)


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` without the nameless nodes that the converter adds."""
    nodes, names = [], {node.name for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
            continue
        if not node.name:
            candidates = (f"{node.output[0]}{end}" for end in chain([""], count()))
            node.name = next(name for name in candidates if name not in names)
            names.add(node.name)
        nodes.append(node)
    set_nodes(model, nodes)
    return model
