"""The rows that a loop writes into a tensor it carries, as TensorFlow Lite's converter has them."""

from __future__ import annotations

import numpy as np
import onnx

from tvmcomp.frontend.onnx.recurrence.algebra import NotRecurrent
from tvmcomp.frontend.onnx.recurrence.timed import Timed


def rows_written(
    body: onnx.GraphProto, state: str, after: str, timed: Timed, shape: tuple[int, ...]
) -> tuple[str, bool]:
    """What a body puts into the tensor ``state [T, …]``, one row at each trip.

        concat(state[:t], row, state[t + 1:])

    Returns:
        The row's name, and whether the first trip writes the last row.

    Raises:
        NotRecurrent: it does not write each row once, in order.
    """
    makers = {name: node for node in body.node for name in node.output}
    node = makers.get(after)
    while node is not None and node.op_type == "Identity":
        node = makers.get(node.input[0])
    axis = 0 if node is None else next((a.i for a in node.attribute if a.name == "axis"), 0)
    if node is None or node.op_type != "Concat" or len(node.input) != 3 or axis:
        raise NotRecurrent("what it carries is no rows")
    row = node.input[1]
    before, behind = (_part(makers.get(name), state, timed, shape) for name in node.input[::2])
    size = shape[0]
    if timed.trips != size:
        raise NotRecurrent("it doesn't write all rows")
    places = [end for _, end in before]
    if before != [(0, place) for place in places] or behind != [(p + 1, size) for p in places]:
        raise NotRecurrent("it writes other rows")
    if places not in (list(range(size)), list(range(size))[::-1]):
        raise NotRecurrent("it writes rows in another order")
    return row, size > 1 and places[0] > 0


def _part(
    node: onnx.NodeProto | None, state: str, timed: Timed, shape: tuple[int, ...]
) -> list[tuple[int, int]]:
    """From where to where on its first axis a Slice takes ``state``, at each trip."""
    if node is None or node.op_type != "Slice" or node.input[0] != state or len(node.input) < 3:
        raise NotRecurrent("what it carries is no rows")
    if any(name not in timed.names for name in node.input[1:] if name):
        raise NotRecurrent("it writes rows at places of data")
    parts = []
    columns = [timed.at(name) for name in node.input[1:] if name]
    for each in zip(*columns, strict=True):
        numbers = [np.asarray(array).reshape(-1).tolist() for array in each]
        starts, ends = numbers[:2]
        axes = numbers[2] if len(numbers) > 2 else list(range(len(starts)))
        steps = numbers[3] if len(numbers) > 3 else [1] * len(starts)
        found = {axis: (0, size) for axis, size in enumerate(shape)}
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            axis = axis % len(shape)
            begin, stop, _ = slice(start, end, step).indices(shape[axis])
            if step != 1 or (axis and (begin, stop) != (0, shape[axis])):
                raise NotRecurrent("it writes parts of rows")
            found[axis] = begin, max(begin, stop)
        parts.append(found[0])
    return parts
