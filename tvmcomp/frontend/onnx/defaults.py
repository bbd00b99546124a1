"""Attributes whose default onnx's shape inference takes for another than the standard's."""

from __future__ import annotations

import onnx
from onnx import helper

from tvmcomp.frontend.onnx.support import nodes_of

#: Operator -> the attribute and its value in the standard. STFT gives half of a real signal's
#: spectrum unless it says otherwise; onnx infers the shape of all of it.
_DEFAULTS = {"STFT": ("onesided", 1)}


def state_defaults(graph: onnx.GraphProto) -> None:
    """Write such attributes into the nodes that leave them out, in place, in subgraphs as well."""
    for node in nodes_of(graph):
        name, value = _DEFAULTS.get(node.op_type, ("", 0))
        standard = node.domain in ("", "ai.onnx")
        if name and standard and all(each.name != name for each in node.attribute):
            node.attribute.append(helper.make_attribute(name, value))
