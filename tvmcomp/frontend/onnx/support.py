"""Which ONNX operators can be imported; all that can't are reported at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

import onnx

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.converters import CONVERTERS, MICROSOFT_CONVERTERS, OWN_CONVERTERS

#: ``If``, and loops that stay loops, are handled by the importer itself.
_CONTROL_FLOW = {"If"}
_OWN_CONTROL_FLOW = {"Loop"}


def subgraphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that are attributes of ``node`` (bodies of If, Loop, Scan)."""
    for attribute in node.attribute:
        if attribute.HasField("g"):  # Else to change what `g` gives would set it.
            yield attribute.g
        yield from attribute.graphs


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of ``graph`` and of every subgraph in it (bodies of If, Loop, Scan)."""
    for node in graph.node:
        yield node
        for subgraph in subgraphs_of(node):
            yield from nodes_of(subgraph)


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give each node without a name one, its operator and its index in the file (``Conv_12``)."""
    for index, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{index}"


def is_plain(model: onnx.ModelProto) -> bool:
    """Whether ``model`` has neither functions of its own nor subgraphs, which may never run."""
    return not model.functions and not any(
        True for node in model.graph.node for _ in subgraphs_of(node)
    )


def is_supported(node: onnx.NodeProto) -> bool:
    """Say whether ``node`` can be imported."""
    if node.domain == "com.microsoft":
        return node.op_type in MICROSOFT_CONVERTERS
    if node.domain == "tvmcomp":
        return node.op_type in OWN_CONVERTERS or node.op_type in _OWN_CONTROL_FLOW
    if node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type in CONVERTERS or node.op_type in _CONTROL_FLOW


def check_operators(graph: onnx.GraphProto, *, where: str, besides: Collection[str] = ()) -> None:
    """Refuse a graph with operators that can't be imported.

    Args:
        graph: the graph.
        where: its file, for errors.
        besides: standard operators that are yet to be written as others.

    Raises:
        ModelError: naming each such operator with the nodes that use it.
    """
    unsupported: dict[str, list[str]] = defaultdict(list)
    for index, node in enumerate(nodes_of(graph)):
        rewritten = node.domain in ("", "ai.onnx") and node.op_type in besides
        if not is_supported(node) and not rewritten:
            operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            unsupported[operator].append(node.name or f"{node.op_type}_{index}")
    if not unsupported:
        return
    lines = [f"{operator}: {_abridged(names)}" for operator, names in sorted(unsupported.items())]
    raise ModelError(
        f"uses {len(unsupported)} operator(s) that can't be compiled:\n    " + "\n    ".join(lines),
        where=where,
        hint="Export the model without them (a newer operator set often helps), "
        "or compute these parts outside it.",
    )


def _abridged(names: list[str], shown: int = 8) -> str:
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
