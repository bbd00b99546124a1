"""Refuse functions that unfold to more nodes than a model may have, before they are inlined."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.limits import DEEPEST_CALLS, INLINED_NODES
from tvmcomp.frontend.onnx.support import nodes_of

_Key = tuple[str, str, str]


def check_functions(model: onnx.ModelProto, *, where: str) -> None:
    """Refuse functions that call themselves, nest too deep, or unfold to too many nodes, and calls
    with more inputs or outputs than the function has.

    Raises:
        ModelError: naming the limit, or the call.
    """
    functions = {(_domain(f), f.name, f.overload): f for f in model.functions}
    written = sum(1 for _ in nodes_of(model.graph))
    limit = INLINED_NODES + written + sum(len(f.node) for f in model.functions)
    unfolded: dict[_Key, tuple[int, int]] = {}  # -> nodes, depth

    def measure(nodes: Iterator[onnx.NodeProto], level: int) -> tuple[int, int]:
        total, deepest = 0, 0
        for node in nodes:
            key = (_domain(node), node.op_type, node.overload)
            size, depth = 1, 0
            if key in functions:
                _check_call(node, functions[key], where)
                if key not in unfolded and level < DEEPEST_CALLS:
                    unfolded[key] = measure(_nodes(functions[key]), level + 1)
                size, depth = unfolded.get(key, (1, DEEPEST_CALLS))
                depth += 1
            total, deepest = total + size, max(deepest, depth)
        if deepest > DEEPEST_CALLS:
            raise ModelError(
                f"has functions that call each other more than {DEEPEST_CALLS} deep, or for ever",
                where=where,
                hint="Inline them before (onnx.inliner), or export the model again.",
            )
        return total, deepest

    total, _ = measure(nodes_of(model.graph), 0)
    if total > limit:
        raise ModelError(
            f"has functions that unfold to {total:,} nodes; the limit is {limit:,}",
            where=where,
            hint="Export it with fewer calls of functions that call functions.",
        )


def _check_call(node: onnx.NodeProto, function: onnx.FunctionProto, where: str) -> None:
    for what, given, most in (
        ("inputs", node.input, function.input),
        ("outputs", node.output, function.output),
    ):
        if len(given) > len(most):
            raise ModelError(
                f"node {node.name!r} calls the function {function.name} with {len(given)} {what}; "
                f"it has {len(most)}",
                where=where,
                hint="Mend the model, or export it again.",
            )


def _nodes(function: onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    yield from nodes_of(onnx.GraphProto(node=function.node))


def _domain(named: onnx.NodeProto | onnx.FunctionProto) -> str:
    return "" if named.domain == "ai.onnx" else str(named.domain)
