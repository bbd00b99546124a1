"""Reshape: axes that are joined, taken apart, or left as they are.

    [N, C, H, W]  ->  [N, C H W]     joined: a channel is H W positions of the new axis
    [N, T, H D]   ->  [N, T, H, D]   taken apart: the channels go on along H (a head goes whole)
                                     or along D (of each head the same goes), the others are tied

Along which of them is a choice. It is the first that keeps the most apart if its positions are
equal already (what was joined before), the second axis where a transposition behind it swaps the
two (the shuffle of channels), else the first. Where that leaves channels that can't be cut,
:mod:`tvmcomp.compress.channels.groups` tries the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tvmcomp.compress.channels.classes import Axis
from tvmcomp.compress.channels.flow import Editor, NodeFlow
from tvmcomp.compress.channels.rules.table import rule
from tvmcomp.compress.fake_quantize.graph import attribute, kind_of


@rule("Reshape", "Flatten")
def reshape(node: NodeFlow) -> None:
    """Segments of axes of equal product, one after the other."""
    source, result = (node.shape(name) for name in (node.inputs[0], node.outputs[0]))
    axes = node.axes(0)
    given: list[Axis] = []
    for number, (taken, made) in enumerate(segments(source, result)):
        old, new = [axes[i] for i in taken], [result[i] for i in made]
        joined = _joined(node, old, [source[i] for i in taken])
        given += _apart(node, joined, new, len(given), f"{node.node.name}:{number}")
    node.gives(given)
    if node.node.op_type == "Reshape":
        node.on_cut(lambda edit: _resize(edit, given, result))


def _resize(edit: Editor, axes: Sequence[Axis], sizes: Sequence[int]) -> None:
    counts = [edit.count(axis, size) for axis, size in zip(axes, sizes, strict=True)]
    if counts != list(sizes):
        edit.set_input(1, np.array(counts, np.int64))


def segments(source: Sequence[int], result: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """The shortest runs of axes of both shapes that hold the same elements, in order."""
    i = j = 0
    while i < len(source) or j < len(result):
        taken, made = [], []
        if i < len(source):
            taken, i = [i], i + 1
        if j < len(result):
            made, j = [j], j + 1
        while (left := math.prod(source[a] for a in taken)) != (
            right := math.prod(result[a] for a in made)
        ) or not (taken and made):
            if i < len(source) and (left < right or not taken or j >= len(result)):
                taken.append(i)
                i += 1
            elif j < len(result):
                made.append(j)
                j += 1
            else:
                break
        yield taken, made


def _joined(node: NodeFlow, axes: Sequence[Axis], sizes: Sequence[int]) -> Axis:
    """Axes as one: the channels of that which has most classes; the others' stay."""
    carrying = [i for i, axis in enumerate(axes) if axis is not None]
    if not carrying:
        return None
    best = max(carrying, key=lambda i: _free(node, axes[i]))
    for i in carrying:
        if i != best:
            node.pin(axes[i], "joins them with other channels")
    axis = axes[best]
    assert axis is not None
    return np.tile(np.repeat(axis, math.prod(sizes[best + 1 :])), math.prod(sizes[:best]))


def _free(node: NodeFlow, axis: Axis) -> int:
    if axis is None:
        return 0
    return len(
        {root for root in node.classes.roots(axis) if node.classes.reason(int(root)) is None}
    )


def _apart(node: NodeFlow, axis: Axis, sizes: Sequence[int], first: int, key: str) -> list[Axis]:
    """An axis as several, of which one carries its channels; ``first`` is the first one's place."""
    axes: list[Axis] = [None] * len(sizes)
    wide = [i for i, size in enumerate(sizes) if size > 1]
    if axis is None or not wide:
        return axes
    positions = np.arange(len(axis)).reshape(sizes)
    rows = [np.moveaxis(positions, i, -1).reshape(-1, sizes[i]) for i in wide]
    chosen = _equal_already(node, axis, rows)
    if chosen is None:
        start = _swapped(node, [first + i for i in wide])
        order = [*range(start, len(wide)), *range(start)]
        node.flow.options[key] = (len(wide), axis)
        chosen = order[node.flow.choices.get(key, 0)]
    axes[wide[chosen]] = node.classes.tie(axis[rows[chosen]])
    return axes


def _equal_already(node: NodeFlow, axis: Axis, rows: Sequence[np.ndarray]) -> int | None:
    """The axis along which the channels vary, where it is only one."""
    assert axis is not None
    roots = node.classes.roots(axis)
    for i, each in enumerate(rows):
        if (roots[each] == roots[each[0]]).all():
            return i
    return None


def _swapped(node: NodeFlow, places: Sequence[int]) -> int:
    """1 where the readers are transpositions that put the second of the axes before the first."""
    if len(places) != 2:
        return 0
    readers = node.flow.graph.readers.get(node.outputs[0], [])
    for reader in readers:
        if reader is None or kind_of(reader) != "Transpose":
            return 0
        order = attribute(reader, "perm")
        if not isinstance(order, list | tuple):
            return 0
        if order.index(places[1]) + 1 != order.index(places[0]):
            return 0
    return int(bool(readers))
