"""Rows that a loop writes into a tensor it carries, at a place known when the network runs.

    concat(s[:t], row, s[t + 1:])    ->    where(places == t, row, s)

TensorFlow Lite's converter writes a list's elements so. The parts' sizes depend on data, but what a
loop that stays one carries keeps its shape: then the second part begins behind the row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def with_rows_chosen(
    body: onnx.GraphProto, shapes: Mapping[str, list[int]], constants: Mapping[str, np.ndarray]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes of a body with such rows, and constants that they read.

    Args:
        body: of a loop.
        shapes: of its states.
        constants: that it reads, or holds.
    """
    makers = {name: node for node in body.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    held: list[onnx.TensorProto] = []
    for node in body.node:
        found = _written(node, makers, shapes, constants)
        if found is None:
            nodes.append(node)
            continue
        state, end = found
        rank, size = len(shapes[state]), shapes[state][0]
        name = node.output[0]
        places = np.arange(size).reshape(-1, *[1] * (rank - 1))
        held += [
            numpy_helper.from_array(np.array(0, "int64"), f"{name}/first"),
            numpy_helper.from_array(places, f"{name}/places"),
        ]
        steps: tuple[tuple[str, list[str], str, dict[str, int]], ...] = (
            ("Gather", [end, held[-2].name], f"{name}/end", {}),
            ("Cast", [f"{name}/end"], f"{name}/place", {"to": TensorProto.INT64}),
            ("Equal", [held[-1].name, f"{name}/place"], f"{name}/here", {}),
            ("Where", [f"{name}/here", node.input[1], state], name, {}),
        )
        for operator, inputs, result, given in steps:
            nodes.append(helper.make_node(operator, inputs, [result], name=result, **given))
    return nodes, held


def _written(
    node: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    shapes: Mapping[str, list[int]],
    constants: Mapping[str, np.ndarray],
) -> tuple[str, str] | None:
    """The state that ``node`` writes a row into, and a tensor whose first element is the place."""
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if node.op_type != "Concat" or len(node.input) != 3 or axis:
        return None
    before, behind = (makers.get(name) for name in node.input[::2])
    if before is None or behind is None:
        return None
    for part in (before, behind):
        if part.op_type != "Slice" or len(part.input) < 3 or part.input[0] != before.input[0]:
            return None
        # All axes from the first on, in steps of one.
        for name, wanted in zip(part.input[3:], (range(99), [1] * 99), strict=False):
            given = constants.get(name)
            if name and (given is None or given.tolist() != list(wanted)[: given.size]):
                return None
    state = before.input[0]
    begin, end = constants.get(before.input[1]), constants.get(behind.input[2])
    if state not in shapes or begin is None or end is None or begin.any():
        return None
    whole = end.size >= 1 and all(
        e >= size for e, size in zip(end.tolist(), shapes[state], strict=False)
    )
    return (state, before.input[2]) if whole and before.input[2] not in constants else None
