"""Pad, of what has a size that depends on data, or by as much as is left to a known size."""

from __future__ import annotations

import numpy as np
import onnx

from tvmcomp.frontend.onnx.bounded.bounding import Bounding
from tvmcomp.frontend.onnx.bounded.elements import most_of
from tvmcomp.frontend.onnx.bounded.values import Element, Value
from tvmcomp.frontend.onnx.node_facts import attributes_of


def pad(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> list[Value] | None:
    """Pad: what is added behind an axis stands behind what is real of it.

    The data is filled with what is added, and enough of it follows: what is not real of the result
    is that value, too.
    """
    data = values[0]
    ends = _ends(node, values)
    if ends is None:
        if data.length is None:
            return None
        raise ValueError("how much it adds is not known, and its data's size depends on data")
    axes = {i for i, pair in enumerate(ends) if not all(isinstance(each, int) for each in pair)}
    if data.length is None and (not axes or any(None in ends[i] for i in axes)):
        return None
    if data.length is not None:
        axes.add(data.length.axis)
    if len(axes) > 1:
        raise ValueError("two of its axes have sizes that depend on data")
    (axis,) = axes
    before, behind = ends[axis]
    if (before, behind) == (0, 0) and data.length is not None:
        return [b.with_length(b.same(node, values)[0], axis, data.length.count)]
    if not isinstance(before, int) or before < 0 or behind is None:
        raise ValueError("where its data begins depends on data, or is cut off")
    if attributes_of(node).get("mode", "constant") != "constant":
        raise ValueError("it repeats data whose size depends on data")
    most = [[most_of(each, 2**31) for each in pair] for pair in ends]
    filled = b.filled(data, _value(b, node, values))
    pads = b.ints(*(pair[0] for pair in most), *(pair[1] for pair in most))
    given = [filled] if len(values) < 2 else [filled, pads, *values[2:3]]
    (result,) = b.same(node, given)
    size = b.scalar(data.dims[axis] if data.length is None else data.length.count)
    number = b.node("Add", b.node("Add", size, b.ints(before)), b.scalar(behind))
    number = b.node("Max", number, b.ints(0))
    return [b.with_length(result, axis, b.count(number, result.dims[axis]))]


def _ends(node: onnx.NodeProto, values: list[Value]) -> list[tuple[Element, Element]] | None:
    """What is added before and behind each axis; None where it is not followed."""
    rank = len(values[0].dims)
    given = attributes_of(node).get("pads") if len(values) < 2 else values[1].elements
    axes: tuple[int, ...] | None = tuple(range(rank))
    if len(values) > 3 and values[3].name:
        axes = values[3].known
    if given is None or axes is None or len(given) != 2 * len(axes):
        return None
    ends: list[tuple[Element, Element]] = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        ends[axis % rank] = (given[i], given[len(axes) + i])
    return ends


def _value(b: Bounding, node: onnx.NodeProto, values: list[Value]) -> float:
    """What is added.

    Raises:
        ValueError: it is computed.
    """
    if len(values) < 3 or not values[2].name:
        return float(attributes_of(node).get("value", 0.0))
    array = b.array(values[2])
    if array is None:
        raise ValueError("the value that it adds is computed when the network runs")
    return float(np.asarray(array).item())


RULES = {"Pad": pad}
