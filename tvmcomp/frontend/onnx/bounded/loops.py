"""Loops that a condition of data ends: their rows are counted."""

from __future__ import annotations

import onnx

from tvmcomp.frontend.onnx.bounded.bounding import Bounding
from tvmcomp.frontend.onnx.bounded.values import Value
from tvmcomp.frontend.onnx.kept_loops import is_counted_loop
from tvmcomp.frontend.onnx.trip_count import read_inside


def kept_loop(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value]:
    """A loop that stays one: of ``counted`` ones, the rows are as many as the last state says."""
    inside = [b.values[name] for name in set(read_inside(node)) if name in b.values]
    names = {value.name for value in inside}
    if any(value.length is not None for value in (*values, *inside)):
        raise ValueError("the size of what it is given depends on data")
    if not names <= b.values.keys():
        raise ValueError("its body reads a tensor that is held at a bound")
    results = b.same(node, values)
    if not is_counted_loop(node):
        return results
    states = len(node.input) - 2
    number = b.node("Reshape", results[states - 1], b.ints(1))
    bound = next(a.i for a in node.attribute if a.name == "bound")
    count = b.count(number, bound)
    rows = [b.with_length(row, 0, count) if row.name else row for row in results[states:]]
    return [*results[:states], *rows]
