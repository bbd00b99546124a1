"""Attention in one operator: whole heads go, as the size of a head is a part of its formula."""

from __future__ import annotations

from tvmcomp.compress.channels.classes import Axis
from tvmcomp.compress.channels.flow import Editor, NodeFlow
from tvmcomp.compress.channels.rules.table import rule


@rule("Attention")
def attention(node: NodeFlow) -> None:
    """Query, key and value ``[N, heads, T, D]``, or ``[N, T, heads D]`` with the number of heads
    in attributes."""
    if any(node.has(place) for place in (3, 4, 5)) or len([o for o in node.outputs if o]) > 1:
        node.stays()
        return
    parts = [node.axes(place) for place in range(3)]
    if all(len(axes) == 4 for axes in parts):
        if len({node.shape(name)[1] for name in node.inputs[:3]}) > 1:
            node.stays()
            return
        for axes in parts:
            for axis in axes[2:]:
                node.pin(axis, "compares them with one another")
        heads = parts[0][1]
        for axes in parts[1:]:
            heads = node.unify(heads, axes[1])
        node.gives([parts[0][0], heads, None, None])
        return
    _of_rows(node, "q_num_heads", "kv_num_heads")


@rule("com.microsoft.MultiHeadAttention")
def multi_head_attention(node: NodeFlow) -> None:
    """Query, key and value ``[N, T, heads D]``."""
    if any(node.has(place) for place in range(3, len(node.inputs))) or not node.has(2):
        node.stays()
        return
    _of_rows(node, "num_heads")


def _of_rows(node: NodeFlow, *counts: str) -> None:
    numbers = {node.get(name) for name in counts}
    parts = [node.axes(place) for place in range(3)]
    if len(numbers) != 1 or None in numbers or any(len(axes) != 3 for axes in parts):
        node.stays()
        return
    (number,) = numbers
    heads: list[Axis] = [
        None if axes[2] is None else node.classes.tie(axes[2].reshape(number, -1).T)
        for axes in parts
    ]
    together = heads[0]
    for other in heads[1:]:
        together = node.unify(together, other)
    given = parts[2][2] if together is not None else None

    def resize(edit: Editor) -> None:
        for name in counts:
            edit.set_attribute(name, edit.count(together, number))

    node.on_cut(resize)
    node.gives([parts[0][0], None, given])
