"""Operators that move elements: channels keep what they are, and numbers of the move follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvmcomp.compress.channels.classes import Axis
from tvmcomp.compress.channels.flow import Editor, NodeFlow
from tvmcomp.compress.channels.rules.table import rule


@rule("Transpose")
def transpose(node: NodeFlow) -> None:
    """Axes in another order."""
    axes = node.axes(0)
    order = node.get("perm") or range(len(axes))[::-1]
    node.gives([axes[i] for i in order])


@rule("Squeeze")
def squeeze(node: NodeFlow) -> None:
    """Axes of size 1 go."""
    axes, shape = node.axes(0), node.shape(node.inputs[0])
    given = _axes_of(node, 1)
    gone = [i for i, size in enumerate(shape) if size == 1] if given is None else given
    gone = [i % len(axes) for i in gone]
    node.gives([axis for i, axis in enumerate(axes) if i not in gone])


@rule("Unsqueeze")
def unsqueeze(node: NodeFlow) -> None:
    """Axes of size 1 come."""
    axes = list(node.axes(0))
    rank = len(node.shape(node.outputs[0]))
    for i in sorted(i % rank for i in _axes_of(node, 1) or ()):
        axes.insert(i, None)
    node.gives(axes)


def _axes_of(node: NodeFlow, place: int) -> list[int] | None:
    """Axes, which are an input since operator set 13; None where none are given."""
    value = node.value(place)
    if value is not None:
        return [int(i) for i in np.ravel(value)]
    given = node.get("axes")
    return None if given is None else list(given)


@rule("Concat")
def concat(node: NodeFlow) -> None:
    """One axis after the other; the others are one."""
    places = range(len(node.inputs))
    rank = len(node.shape(node.outputs[0]))
    along = node.get("axis") % rank
    axes: list[Axis] = []
    for i in range(rank):
        meeting = [node.axes(place)[i] for place in places]
        if i == along:
            sizes = [node.shape(name)[i] for name in node.inputs]
            axes.append(_behind_each_other(node, meeting, sizes))
            continue
        axis = meeting[0]
        for other in meeting[1:]:
            axis = node.unify(axis, other)
        axes.append(axis)
    node.gives(axes)


def _behind_each_other(node: NodeFlow, axes: Sequence[Axis], sizes: Sequence[int]) -> Axis:
    if all(axis is None for axis in axes):
        return None
    reason = f"{node.title} has it beside channels, and it stays as it is"
    return np.concatenate(
        [
            node.classes.pinned(size, reason) if axis is None else axis
            for axis, size in zip(axes, sizes, strict=True)
        ]
    )


@rule("Split")
def split(node: NodeFlow) -> None:
    """Parts of an axis."""
    axes = node.axes(0)
    along = node.get("axis", 0) % len(axes)
    sizes = [node.shape(name)[along] for name in node.outputs if name]
    if len(sizes) != len(node.outputs) or axes[along] is None:
        node.pin(axes[along], "gives a part of them to nobody")
        node.gives(*[[*axes[:along], None, *axes[along + 1 :]]] * len(node.outputs))
        return
    ends = np.cumsum(sizes)
    axis = axes[along]
    assert axis is not None
    parts = [axis[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    given = [node.takes(part) for part in parts]
    node.gives(*[[*axes[:along], part, *axes[along + 1 :]] for part in given])

    def resize(edit: Editor) -> None:
        counts = [edit.count(part, len(part)) for part in parts]
        if node.opset >= 13:
            edit.set_input(1, np.array(counts, np.int64))
            kept = [each for each in edit.node.attribute if each.name != "num_outputs"]
            del edit.node.attribute[:]
            edit.node.attribute.extend(kept)
        else:
            edit.set_attribute("split", counts)

    node.on_cut(resize)


@rule("Slice")
def slice_(node: NodeFlow) -> None:
    """A part of each axis, from a start in steps."""
    axes, shape = list(node.axes(0)), node.shape(node.inputs[0])
    settings = _slice_settings(node, len(shape))
    if settings is None:
        node.stays()
        return
    for i, part in settings.items():
        taken = np.arange(shape[i])[part]
        if len(taken) == shape[i] and part.step == 1:
            continue
        if part.step != 1:
            node.pin(axes[i], "takes some of them, in steps")
            axes[i] = None
        axis = axes[i]
        axes[i] = None if axis is None or not len(taken) else node.takes(axis[taken])
    whole = node.axes(0)
    node.gives(axes)
    if node.opset < 10:
        for i in settings:
            node.pin(whole[i], "takes a part of them")
        return

    def move(edit: Editor) -> None:
        starts, ends = [], []
        for i, part in settings.items():
            kept = edit.kept(whole[i])
            low, high, _ = part.indices(shape[i])
            if kept is None or part.step != 1:
                starts.append(part.start)
                ends.append(part.stop if part.stop is not None else -(2**31))
            else:
                starts.append(int(kept[:low].sum()))
                ends.append(int(kept[: max(low, high)].sum()))
        edit.set_input(1, np.array(starts, np.int64))
        edit.set_input(2, np.array(ends, np.int64))

    node.on_cut(move)


def _slice_settings(node: NodeFlow, rank: int) -> dict[int, slice] | None:
    """The part that is taken of each axis, in the order given; None where it is computed."""
    starts: Any = node.get("starts") or node.value(1)
    ends: Any = node.get("ends") or node.value(2)
    if starts is None or ends is None:
        return None
    axes: Any = node.get("axes") or node.value(3)
    steps: Any = node.value(4)
    if (axes is None and node.has(3)) or (steps is None and node.has(4)):
        return None
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    parts = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        open_end = int(step) < 0 and int(end) < -(2**30)
        parts[int(axis) % rank] = slice(int(start), None if open_end else int(end), int(step))
    return parts


@rule("Pad")
def pad(node: NodeFlow) -> None:
    """What is put around channels stays."""
    axes, sizes = list(node.axes(0)), node.shape(node.inputs[0])
    pads: Any = node.get("pads") or node.value(1)
    if pads is None or node.has(3) or node.get("mode", "constant") != "constant":
        for axis in axes:
            node.pin(axis, "puts something around them")
        node.gives([None] * len(axes))
        return
    for i, axis in enumerate(axes):
        before, after = int(pads[i]), int(pads[i + len(axes)])
        if axis is None or (before == 0 and after == 0):
            continue
        if min(before, after) < 0:
            node.pin(axis, "cuts some of them off")
            axes[i] = None
            continue
        reason = f"{node.title} puts it beside channels"
        around = [node.classes.pinned(count, reason) for count in (before, after)]
        axes[i] = np.concatenate([around[0], axis, around[1]])
        assert len(axis) == sizes[i]
    node.gives(axes)


@rule("Expand")
def expand(node: NodeFlow) -> None:
    """Repeats along axes of size 1."""
    result = node.shape(node.outputs[0])
    axes: list[Axis] = [*[None] * (len(result) - len(node.axes(0))), *node.axes(0)]
    node.gives(axes)

    def resize(edit: Editor) -> None:
        counts = [edit.count(axis, size) for axis, size in zip(axes, result, strict=True)]
        edit.set_input(1, np.array(counts, np.int64))

    node.on_cut(resize)


@rule("Tile")
def tile(node: NodeFlow) -> None:
    """Repeats, each channel with them."""
    repeats = node.value(1)
    if repeats is None:
        node.stays()
        return
    node.gives(
        [
            None if axis is None else np.tile(axis, int(times))
            for axis, times in zip(node.axes(0), repeats, strict=True)
        ]
    )


@rule("Gather")
def gather(node: NodeFlow) -> None:
    """Positions of an axis, by their numbers; rows of a table of embeddings, whose columns are
    channels."""
    data, indices = node.axes(0), node.value(1)
    along = node.get("axis", 0) % len(data)
    rank = len(node.shape(node.inputs[1]))
    axis = data[along]
    middle: list[Axis] = [None] * rank
    if axis is not None and indices is not None and rank == 1:
        size = len(axis)
        middle = [node.takes(axis[indices % size]) if len(indices) else None]

        def renumber(edit: Editor) -> None:
            kept = edit.kept(axis)
            assert kept is not None
            chosen = indices % size
            numbers = np.cumsum(kept) - 1
            edit.set_input(1, numbers[chosen[kept[chosen]]].astype(indices.dtype))

        node.on_cut(renumber)
    else:
        node.pin(axis, "takes them by their numbers")
    if node.flow.graph.is_constant(node.inputs[0]):
        for i, other in enumerate(data):
            if i != along:
                node.makes(other)
    node.gives([*data[:along], *middle, *data[along + 1 :]])
