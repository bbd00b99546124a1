"""Convolutions and products: what they sum over is read, what comes out of a weight is new.

Of a grouped convolution the same channels of every group go, so that its groups stay equal; of a
depthwise one (a channel a group) whole groups go.
"""

from __future__ import annotations

import numpy as np

from tvmcomp.compress.channels.classes import Axis
from tvmcomp.compress.channels.flow import NodeFlow
from tvmcomp.compress.channels.rules.table import rule


@rule("Conv")
def conv(node: NodeFlow) -> None:
    """A weight ``[outputs, inputs of a group, …]``."""
    x, weight = node.axes(0), node.axes(1)
    groups, inputs = node.get("group", 1), node.shape(node.inputs[1])[1]
    _windows(node, x, weight)
    made = weight[0]
    if groups == 1:
        node.reads(0, 1, node.unify(x[1], weight[1]))
    elif inputs == 1:
        _whole_groups(node, x[1], made, groups)
    else:
        node.unify(_equal_groups(node, x[1], groups), weight[1])
        node.reads(0, 1, x[1])
        _equal_groups(node, made, groups)
    _finish(node, x, made)


@rule("ConvTranspose")
def conv_transpose(node: NodeFlow) -> None:
    """A weight ``[inputs, outputs of a group, …]``."""
    x, weight = node.axes(0), node.axes(1)
    groups, (inputs, outputs) = node.get("group", 1), node.shape(node.inputs[1])[:2]
    _windows(node, x, weight)
    node.unify(x[1], weight[0])
    made: Axis
    if groups == 1:
        node.reads(0, 1, x[1])
        made = weight[1]
    elif inputs == groups and outputs == 1:
        _whole_groups(node, x[1], weight[0], groups)
        made = weight[0]
    else:
        _equal_groups(node, x[1], groups)
        node.reads(0, 1, x[1])
        made = None if weight[1] is None else np.tile(weight[1], groups)
    _finish(node, x, made)


def _windows(node: NodeFlow, x: list[Axis], weight: list[Axis]) -> None:
    for axis in (*x[2:], *weight[2:]):
        node.pin(axis, "moves a window along them")


def _whole_groups(node: NodeFlow, read: Axis, made: Axis, groups: int) -> None:
    """A channel a group: its outputs go with it."""
    if read is None or made is None:
        node.unify(read, made)
        return
    node.unify(np.repeat(read, len(made) // groups), made)
    node.on_cut(lambda edit: edit.set_attribute("group", edit.count(read, groups)))


def _equal_groups(node: NodeFlow, axis: Axis, groups: int) -> Axis:
    """Tie the channels of all groups; gives those of the first."""
    if axis is None:
        return None
    return node.classes.tie(axis.reshape(groups, -1))


def _finish(node: NodeFlow, x: list[Axis], made: Axis) -> None:
    if node.has(2):
        node.unify(made, node.axes(2)[0])
    node.makes(made)
    node.gives([x[0], made, *[None] * (len(x) - 2)])


@rule("MatMul", "com.microsoft.FusedMatMul")
def matmul(node: NodeFlow) -> None:
    """Stacks of matrices, the last two axes of each; one of one axis is a row, or a column."""
    shapes = [node.shape(name) for name in node.inputs[:2]]
    if min(map(len, shapes)) < 2:
        node.stays()
        return
    left, right = node.axes(0), node.axes(1)
    flipped = [bool(node.get(name, 0)) for name in ("transA", "transB")]
    rows, inner = (left[-1], left[-2]) if flipped[0] else (left[-2], left[-1])
    other, columns = (right[-1], right[-2]) if flipped[1] else (right[-2], right[-1])
    stacks = _stacks(node)
    _product(node, (inner, other), (rows, columns), flipped)
    node.gives([*stacks, rows, columns])


def _stacks(node: NodeFlow) -> list[Axis]:
    """The axes before the last two."""
    shapes = [node.shape(name)[:-2] for name in node.inputs[:2]]
    both = [node.axes(place)[:-2] for place in (0, 1)]
    axes: list[Axis] = []
    for from_end in range(max(map(len, shapes)), 0, -1):
        meeting = [
            axis[-from_end]
            for axis, shape in zip(both, shapes, strict=True)
            if len(shape) >= from_end and shape[-from_end] != 1
        ]
        axis = meeting[0] if meeting else None
        axes.append(node.unify(axis, meeting[1]) if len(meeting) == 2 else axis)
    return axes


@rule("Gemm")
def gemm(node: NodeFlow) -> None:
    """A product of two matrices, and what is added to it."""
    left, right = node.axes(0), node.axes(1)
    flipped = [bool(node.get("transA", 0)), bool(node.get("transB", 0))]
    rows, inner = left[::-1] if flipped[0] else left
    other, columns = right[::-1] if flipped[1] else right
    _product(node, (inner, other), (rows, columns), flipped)
    if node.has(2):
        added, shape = node.axes(2), node.shape(node.inputs[2])
        for from_end, axis in enumerate((columns, rows), 1):
            if len(shape) >= from_end and shape[-from_end] != 1:
                node.unify(axis, added[-from_end])
    node.gives([rows, columns])


def _product(
    node: NodeFlow, inner: tuple[Axis, Axis], outer: tuple[Axis, Axis], flipped: list[bool]
) -> None:
    constant = [node.flow.graph.is_constant(name) for name in node.inputs[:2]]
    read = node.unify(*inner)
    place = 1 if constant[0] else 0  # what moves is masked, and not a weight that others may share
    last = len(node.shape(node.inputs[place])) - 1
    node.reads(place, last - (flipped[0] if place == 0 else not flipped[1]), read)
    for is_constant, axis in zip(constant, outer, strict=True):
        if is_constant:
            node.makes(axis)


@rule("Einsum")
def einsum(node: NodeFlow) -> None:
    """An axis a letter; a letter that is not in the result is summed over."""
    equation = node.get("equation", "").replace(" ", "")
    if "..." in equation or "->" not in equation:
        node.stays()
        return
    left, result = equation.split("->")
    terms = left.split(",")
    if any(len(set(term)) != len(term) for term in terms):
        node.stays()
        return
    axes: dict[str, Axis] = {}
    for place, term in enumerate(terms):
        shape = node.shape(node.inputs[place])
        for letter, axis, size in zip(term, node.axes(place), shape, strict=True):
            if size == 1:
                axes.setdefault(letter, None)
            elif letter in axes:
                axes[letter] = node.unify(axes[letter], axis)
            else:
                axes[letter] = axis
    for place, term in enumerate(terms):
        constant = node.flow.graph.is_constant(node.inputs[place])
        for position, letter in enumerate(term):
            elsewhere = [o for o, other in enumerate(terms) if o != place and letter in other]
            if letter not in result:
                moving = [o for o in elsewhere if not node.flow.graph.is_constant(node.inputs[o])]
                if not (constant and moving) and not any(o < place for o in moving):
                    node.reads(place, position, axes[letter])
            elif constant and not elsewhere:
                node.makes(axes[letter])
    node.gives([axes[letter] for letter in result])


@rule("DepthToSpace")
def depth_to_space(node: NodeFlow) -> None:
    """Channels ``[C, b, b]``, or ``[b, b, C]`` by default: the same of each pixel go."""
    block = node.get("blocksize") ** 2
    x = node.axes(0)
    made: Axis = None
    if x[1] is not None:
        pixels = (
            x[1].reshape(-1, block).T
            if node.get("mode", "DCR") == "CRD"
            else x[1].reshape(block, -1)
        )
        made = node.classes.tie(pixels)
    node.gives([x[0], made, None, None])


@rule("SpaceToDepth")
def space_to_depth(node: NodeFlow) -> None:
    """Channels ``[b, b, C]``."""
    x = node.axes(0)
    made: Axis = None if x[1] is None else np.tile(x[1], node.get("blocksize") ** 2)
    node.gives([x[0], made, None, None])
