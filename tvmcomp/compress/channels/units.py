"""Operators that are measured together, and how large their tensors are at any width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tvmcomp.compress.channels.classes import Axis
from tvmcomp.compress.channels.groups import Groups
from tvmcomp.compress.fake_quantize.graph import kind_of

_ANCHORS = frozenset(
    ["Attention", "Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN",
     "com.microsoft.FusedMatMul", "com.microsoft.MultiHeadAttention"]
)  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """Operators that are measured together.

    Attributes:
        nodes: their names.
        groups: the positions of the groups whose width it depends on.
    """

    nodes: tuple[str, ...]
    groups: tuple[int, ...]


def units_of(groups: Groups) -> list[Unit]:
    """The units of a network, in its order."""
    graph, flow = groups.flow.graph, groups.flow
    unit_of: dict[str, int] = {}
    nodes: list[list[str]] = []
    for node in graph.nodes:
        before = [unit_of[name] for name in node.input if name in unit_of]
        if kind_of(node) in _ANCHORS or not before:
            nodes.append([])
            number = len(nodes) - 1
        else:
            number = max(before)
        nodes[number].append(node.name)
        unit_of.update(dict.fromkeys(node.output, number))
    group_of = {each: i for i, group in enumerate(groups.groups) for each in group.classes}
    touched: dict[str, set[int]] = {}
    for node in graph.nodes:
        found: set[int] = set()
        for name in (*node.input, *node.output):
            for axis in flow.axes.get(name, ()) if name else ():
                if axis is not None:
                    roots = set(flow.classes.roots(axis).tolist())
                    found |= {group_of[root] for root in roots if root in group_of}
        touched[node.name] = found
    return [
        Unit(tuple(names), tuple(sorted(set().union(*(touched[name] for name in names)))))
        for names in nodes
    ]


class Sizes:
    """The sizes of tensors as the groups' shares change."""

    def __init__(self, groups: Groups) -> None:
        self._shapes: dict[str, list[tuple[int, dict[int, int]]]] = {}
        self._groups = groups
        self._group_of = {c: g for g, group in enumerate(groups.groups) for c in group.classes}

    def shape(self, tensor: str, shares: Mapping[int, float]) -> list[float]:
        """Its shape, in parts of channels where a share is none of whole ones."""
        if tensor not in self._shapes:
            self._shapes[tensor] = [self._axis(*each) for each in self._axes(tensor)]
        return [
            fixed + sum(count * shares[g] for g, count in parts.items())
            for fixed, parts in self._shapes[tensor]
        ]

    def _axes(self, tensor: str) -> Iterator[tuple[Axis, int]]:
        flow = self._groups.flow
        shape = flow.shapes.get(tensor, ())
        return zip(flow.axes.get(tensor) or [None] * len(shape), shape, strict=True)

    def _axis(self, axis: Axis, size: int) -> tuple[int, dict[int, int]]:
        """Positions that stay, and those of each group."""
        parts: dict[int, int] = {}
        for root in [] if axis is None else self._groups.flow.classes.roots(axis).tolist():
            if root in self._group_of:
                group = self._group_of[root]
                parts[group] = parts.get(group, 0) + 1
        return size - sum(parts.values()), parts
