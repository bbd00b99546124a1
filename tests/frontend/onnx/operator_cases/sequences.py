"""Cases of sequences of tensors whose length is known."""

from __future__ import annotations

import numpy as np

from operator_cases.draw import Draw, generates


def _position(draw: Draw, length: int) -> str:
    """A place in a sequence, counted from either end."""
    kind = draw.choose(["int32", "int64"])
    return draw.constant(np.asarray(draw.size(-length, length - 1), kind))


def _tensors(draw: Draw) -> list[str]:
    """Tensors of one shape and type."""
    dtype, shape = draw.dtype(), draw.shape(1, 3)
    return [draw.input(draw.wide(dtype, shape)) for _ in range(draw.size(1, 4))]


@generates("SequenceConstruct", "SequenceAt", "SequenceLength", "SequenceEmpty")
def construct(draw: Draw) -> None:
    if draw.operator == "SequenceEmpty":
        (sequence,) = draw.step("SequenceEmpty", [], dtype=1)
        x = draw.input(draw.array("float32", draw.shape()))
        (sequence,) = draw.step("SequenceInsert", [sequence, x])
        draw.give(*draw.step("SequenceAt", [sequence, draw.constant(np.asarray(0))]))
        return
    dtype, shape = draw.choose(["float32", "int64", "bool", "uint8"]), draw.shape(0, 3)
    names = [draw.input(draw.wide(dtype, shape)) for _ in range(draw.size(1, 4))]
    (sequence,) = draw.step("SequenceConstruct", names)
    if draw.operator == "SequenceLength":
        draw.node([sequence])
        draw.give(*draw.step("Identity", names[:1]))
        return
    draw.give(*draw.step("SequenceAt", [sequence, _position(draw, len(names))]))


@generates("SequenceInsert", "SequenceErase")
def edit(draw: Draw) -> None:
    dtype, shape = draw.choose(["float32", "int32"]), draw.shape(0, 3)
    names = [draw.input(draw.wide(dtype, shape)) for _ in range(draw.size(2, 4))]
    (sequence,) = draw.step("SequenceConstruct", names)
    length = len(names)
    inserts = draw.operator == "SequenceInsert"
    inputs = [sequence, draw.input(draw.wide(dtype, shape))] if inserts else [sequence]
    if draw.chance(0.7):
        inputs.append(_position(draw, length))
    (edited,) = draw.step(draw.operator, inputs)
    length += 1 if inserts else -1
    for place in range(length):
        draw.give(*draw.step("SequenceAt", [edited, draw.constant(np.asarray(place))]))


@generates("SplitToSequence", "ConcatFromSequence")
def split(draw: Draw) -> None:
    dtype, shape = draw.choose(["float32", "int64", "uint8"]), draw.shape(1, 3)
    axis = draw.size(-len(shape), len(shape) - 1)
    shape[axis] = draw.size(1, 7)
    x = draw.input(draw.wide(dtype, shape))
    attributes = {"axis": axis}
    way = draw.size(0, 2)
    inputs = [x]
    if way == 0:
        attributes |= draw.maybe(keepdims=draw.size(0, 1))
        length = shape[axis]
    elif way == 1:
        size = draw.size(1, shape[axis])
        inputs.append(draw.constant(np.asarray(size)))
        length = -(-shape[axis] // size)
    else:
        cut = draw.size(0, shape[axis])
        sizes = [size for size in (cut, shape[axis] - cut) if size]
        inputs.append(draw.constant(np.array(sizes)))
        length = len(sizes)
    (sequence,) = draw.step("SplitToSequence", inputs, **attributes)
    if draw.operator == "SplitToSequence":
        for place in {0, length - 1}:
            draw.give(*draw.step("SequenceAt", [sequence, draw.constant(np.asarray(place))]))
        draw.give(*draw.step("SequenceLength", [sequence]))
        return
    same = way != 1 or shape[axis] % size == 0
    squeezed = way == 0 and attributes.get("keepdims") == 0
    new_axis = draw.size(0, 1) if (same and way < 2) or squeezed else 0
    rank = len(shape) - squeezed + new_axis
    if rank == 0:
        new_axis, rank = 1, 1
    joined = axis if not new_axis and not squeezed else draw.size(-rank, rank - 1)
    draw.node([sequence], axis=joined, **({"new_axis": 1} if new_axis else {}))
