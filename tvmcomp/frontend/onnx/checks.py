"""Refuse a graph that breaks the standard: its types, shapes and attributes, node by node.

onnx's checker knows which attributes and inputs a node may have; here is what it leaves to those
who run the model. First the attributes alone (``attribute_rules``), as onnx's own shape inference
may abort on wrong ones; then types and shapes, by that inference; then what the shapes must be
(``shape_rules``).
"""

from __future__ import annotations

import re
from typing import NoReturn

import numpy as np
import onnx
import onnx.shape_inference

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.attribute_rules import check_attributes
from tvmcomp.frontend.onnx.microsoft import DOMAIN, check_microsoft
from tvmcomp.frontend.onnx.node_facts import MOST_ELEMENTS, GraphFacts, NodeFacts
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN as OWN_DOMAIN
from tvmcomp.frontend.onnx.quantized_lstm import check_quantized_lstm, is_quantized_lstm
from tvmcomp.frontend.onnx.shape_rules import check_shapes
from tvmcomp.frontend.onnx.support import nodes_of
from tvmcomp.frontend.onnx.type_rules import check_types

_STANDARD = ("", "ai.onnx")
_CHECKS = {
    **dict.fromkeys(_STANDARD, check_attributes),
    DOMAIN: check_microsoft,
    OWN_DOMAIN: check_quantized_lstm,
}
_FAILED_NODE = re.compile(r"\(op_type:(?P<operator>\w+)(?:, node name: (?P<name>.*?))?\): ")
#: What an error of the inference begins with: its kinds, and then that it is in a function's body.
_KINDS = re.compile(r"^(\[\w+\] )+")
_IN_FUNCTION = "Inference error(s)"


def check_nodes(model: onnx.ModelProto, opset: int, *, where: str) -> None:
    """Check every node of ``model``, whose inputs have static shapes and whose nodes have names.

    Raises:
        ModelError: an attribute, a type or a shape is not what the node's operator takes; it names
            the node, its operator, attributes and the types of its inputs.
    """
    for node in nodes_of(model.graph):
        check = _CHECKS.get(node.domain)
        if check is not None and (node.domain != OWN_DOMAIN or is_quantized_lstm(node)):
            facts = GraphFacts().node(node, opset)
            try:
                check(facts)
            except ValueError as error:
                _refuse(facts, str(error), where)
    graph = _inferred(model, opset, where)
    known = GraphFacts.of(graph)
    for node in graph.node:
        if node.domain in _STANDARD:
            facts = known.node(node, opset)
            try:
                check_types(facts)
                check_shapes(facts)
            except ValueError as error:
                _refuse(facts, str(error), where)


def _inferred(model: onnx.ModelProto, opset: int, where: str) -> onnx.GraphProto:
    """The graph with the types and shapes of all its tensors, without its weights."""
    light = without_weights(model)
    # Not with data_prop: it holds the values of every vector, of 100 bytes an element and more.
    try:
        return onnx.shape_inference.infer_shapes(light, check_type=True, strict_mode=True).graph
    # It is onnx's own judgement of the model: whatever it raises speaks of the model.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split())
    loose = _loosely_inferred(light)
    failed = _FAILED_NODE.search(reason)
    node = failed and _find(light.graph, failed["operator"], failed["name"])
    if not failed or not node:
        raise ModelError(f"its types and shapes contradict each other: {reason[:300]}", where=where)
    reason = _KINDS.sub("", reason[failed.end() :])
    if reason.startswith(_IN_FUNCTION) and _has_function(node, opset):
        return loose  # onnx can't infer through some of its own functions' bodies
    _refuse(GraphFacts.of(loose).node(node, opset), reason[:300], where)


def _loosely_inferred(light: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with the types that are known without the wrong node, for what an error says."""
    try:
        return onnx.shape_inference.infer_shapes(light).graph
    except Exception:  # noqa: BLE001  some faults end it without the strictness as well
        return light.graph


def _has_function(node: onnx.NodeProto, opset: int) -> bool:
    if node.domain not in _STANDARD:
        return False
    schema = onnx.defs.get_schema(node.op_type, opset)
    return bool(schema.has_function or schema.has_context_dependent_function)


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with each large initializer as an input of its type: inference copies the model."""
    light = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph, source = light.graph, model.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.sparse_initializer.extend(source.sparse_initializer)
    for tensor in source.initializer:
        if np.prod(tensor.dims, dtype=float) <= MOST_ELEMENTS:
            graph.initializer.add().CopyFrom(tensor)
        else:
            kind = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            graph.input.add(name=tensor.name).type.CopyFrom(kind)
    return light


def _find(graph: onnx.GraphProto, operator: str, name: str | None) -> onnx.NodeProto | None:
    found = (n for n in nodes_of(graph) if n.op_type == operator and n.name == (name or ""))
    return next(found, None)


def _refuse(facts: NodeFacts, reason: str, where: str) -> NoReturn:
    hint = "Mend the model or export it again; ONNX Runtime refuses it as well."
    if facts.node.op_type == "If":  # ONNX Runtime asks no more of a branch than that it isn't taken
        hint = (
            "With these shapes one branch makes no sense. If an input chooses between them, fix "
            "its value: --fix NAME=VALUE."
        )
    raise ModelError(f"{facts} is not valid: {reason}", where=where, hint=hint) from None
