"""How often a Loop runs at most, by what it takes at each trip.

    going, row = body(i): x = Gather(sequence, i); …

A trip that takes what is behind the sequence's end is none that ONNX Runtime runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

_COPIES = {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"}


def places_bound(
    body: onnx.GraphProto,
    carried: list[str],
    constants: Mapping[str, onnx.TensorProto],
    shape_of: Callable[[str], list[int | None] | None],
) -> int | None:
    """The most trips that a loop can run; None where it takes nothing by a counter.

    Args:
        body: of the loop.
        carried: what its states begin with.
        constants: outside, and the body's own.
        shape_of: the shape of a tensor outside, as far as it is known.
    """
    makers = {name: node for node in body.node for name in node.output}
    own = set(makers) | {value.name for value in body.input}

    def source(name: str) -> str:
        while name in makers and makers[name].op_type in _COPIES:
            name = makers[name].input[0]
        return name

    def number(name: str) -> int | None:
        array = numpy_helper.to_array(constants[name]) if name in constants else np.zeros(0)
        return int(array.item()) if array.size == 1 and array.dtype.kind in "iu" else None

    first = {body.input[0].name: 0}
    for value, outer, result in zip(body.input[2:], carried, body.output[1:], strict=False):
        begin, step = number(outer), makers.get(source(result.name))
        if begin is None or begin < 0 or step is None or step.op_type != "Add":
            continue
        operands = [source(name) for name in step.input]
        if value.name in operands and 1 in [number(name) for name in operands]:
            first[value.name] = begin
    bounds = []
    for node in body.node:
        if node.op_type != "Gather" or source(node.input[1]) not in first:
            continue
        shape = shape_of(node.input[0]) if node.input[0] not in own else None
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        size = shape[axis] if shape and -len(shape) <= axis < len(shape) else None
        if size is not None:
            bounds.append(max(0, size - first[source(node.input[1])]))
    return min(bounds, default=None)
