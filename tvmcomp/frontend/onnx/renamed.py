"""Other names for the tensors of a node, and of the graphs in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import onnx

from tvmcomp.frontend.onnx.support import subgraphs_of


def renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename the tensors of ``node`` and of the graphs in it, in place."""
    for tensors in (node.input, node.output):
        tensors[:] = [names.get(name, name) for name in tensors]
    for graph in subgraphs_of(node):
        del graph.value_info[:]
        values: Iterable[Any] = (*graph.input, *graph.output, *graph.initializer)
        for value in values:
            value.name = names.get(value.name, value.name)
        for inner in graph.node:
            renamed(inner, names)
