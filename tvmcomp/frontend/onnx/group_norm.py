"""GroupNormalization as operator sets 18 to 20 had it: scale and bias for each group.

The standard took it back (21 has them for each channel), and onnx's checker refuses it; exporters
wrote it, and ONNX Runtime runs it. Over the groups as channels it is an InstanceNormalization::

    (N, C, …) → (N, groups, C / groups · …) → InstanceNormalization → (N, C, …)
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper

from tvmcomp.frontend.onnx.support import subgraphs_of

_FIRST, _LAST = 18, 20


def rewrite_group_norms(graph: onnx.GraphProto, opset: int) -> None:
    """Rewrite, in place, each GroupNormalization of these operator sets, in subgraphs as well."""
    if not _FIRST <= opset <= _LAST:
        return
    nodes = list(graph.node)
    del graph.node[:]
    for index, node in enumerate(nodes):
        for subgraph in subgraphs_of(node):
            rewrite_group_norms(subgraph, opset)
        if node.op_type == "GroupNormalization" and node.domain in ("", "ai.onnx"):
            graph.node.extend(_rewritten(node, node.name or f"{node.op_type}_{index}"))
        else:
            graph.node.append(node)


def _rewritten(node: onnx.NodeProto, name: str) -> list[onnx.NodeProto]:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    groups = attributes.pop("num_groups", None)
    if groups is None or groups < 1 or len(node.input) != 3 or set(attributes) - {"epsilon"}:
        return [node]  # as wrong as it is, for the checker
    data, scale, bias = node.input
    prefix = f"{node.output[0]}/{name}"
    grouped, normal, shape, whole = (
        f"{prefix}/{part}" for part in ("grouped", "normal", "shape", "whole")
    )
    wanted = onnx.numpy_helper.from_array(np.array([0, groups, -1], np.int64))
    make = onnx.helper.make_node
    return [
        make("Constant", [], [shape], f"{name}/groups", value=wanted),
        make("Reshape", [data, shape], [grouped], f"{name}/grouped"),
        make("InstanceNormalization", [grouped, scale, bias], [normal], name, **attributes),
        make("Shape", [data], [whole], f"{name}/shape"),
        make("Reshape", [normal, whole], [node.output[0]], f"{name}/whole"),
    ]
