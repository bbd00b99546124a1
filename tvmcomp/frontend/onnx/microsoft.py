"""Operators of the ``com.microsoft`` domain: onnx's checker knows no schema of them."""

from __future__ import annotations

import onnx

from tvmcomp.frontend.onnx.node_facts import NodeFacts
from tvmcomp.frontend.onnx.support import nodes_of

DOMAIN = "com.microsoft"

#: Operator -> fewest and most inputs, most outputs, attributes, of ONNX Runtime's schemas.
_SCHEMAS: dict[str, tuple[int, int, int, set[str]]] = {
    "BiasGelu": (2, 2, 1, set()),
    "EmbedLayerNormalization": (7, 9, 3, {"epsilon", "mask_index_type"}),
    "FastGelu": (1, 2, 1, set()),
    "Gelu": (1, 1, 1, set()),
    "MatMulInteger16": (2, 2, 1, set()),
    "SkipLayerNormalization": (3, 5, 4, {"epsilon"}),
}


#: Operator -> those of its first inputs that may be left out.
_OPTIONAL = {"EmbedLayerNormalization": {1, 4}}


def import_microsoft(model: onnx.ModelProto) -> None:
    """Declare the domain where it is used and not declared; ONNX Runtime needs no declaration."""
    declared = {entry.domain for entry in model.opset_import}
    if DOMAIN not in declared and any(node.domain == DOMAIN for node in nodes_of(model.graph)):
        model.opset_import.add(domain=DOMAIN, version=1)


def check_microsoft(node: NodeFacts) -> None:
    """Raise ValueError where a node has other inputs, outputs or attributes than its operator."""
    schema = _SCHEMAS.get(node.node.op_type)
    if schema is None:
        return
    fewest, most, outputs, attributes = schema
    given = len(node.node.input)
    if not fewest <= given <= most:
        raise ValueError(f"it has {given} inputs, and must have {fewest} to {most}")
    optional = _OPTIONAL.get(node.node.op_type, set())
    for index, name in enumerate(node.node.input[:fewest]):
        if not name and index not in optional:
            raise ValueError(f"its input {index} is left out, and must be there")
    if not 1 <= len(node.node.output) <= outputs:
        raise ValueError(f"it has {len(node.node.output)} outputs, and may have 1 to {outputs}")
    if unknown := sorted(set(node.attributes) - attributes):
        raise ValueError(f"it has no attribute {', '.join(unknown)}")
