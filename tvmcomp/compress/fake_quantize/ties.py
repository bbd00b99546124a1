"""Tensors that are rounded alike: those around products that share a weight.

A cell that is unrolled in time multiplies by one weight at every step. With a scale of its own at
each step it would have as many rows of integer biases, multipliers and lookup tables, which take
more bytes than the weight. So what such products read has one scale, and so has what is computed
of their results in the same way. Tensors that need very different ranges keep their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

import onnx

from tvmcomp.compress.fake_quantize.graph import Graph, kind_of
from tvmcomp.compress.fake_quantize.operator_kinds import CONVOLUTIONS, PRODUCTS
from tvmcomp.compress.fake_quantize.planned import Plan
from tvmcomp.qparams import QParams, activation_qparams

#: Of the range that tensors have together, the least that each has by itself: a bit is lost.
_LEAST_SHARE = 0.5


def alike(model: onnx.ModelProto, plan: Plan) -> list[tuple[str, ...]]:
    """The rounded tensors of ``model`` that are read by products of one weight, or computed alike
    of what these give; each is in one group at most.

    Args:
        model: a prepared graph.
        plan: of it.
    """
    graph = Graph(model)
    shared = {
        node: weight
        for weight, nodes in plan.multiplied.items()
        if len(nodes) > 1
        for node in nodes
    }
    anchors = {
        node.name: shared[node.name]
        for node in graph.nodes
        if node.name in shared and kind_of(node) in CONVOLUTIONS | PRODUCTS
    }
    if not anchors:
        return []
    groups: dict[int, list[str]] = {}
    origins = _Origins(graph, anchors)
    for tensor in plan.activations:
        groups.setdefault(origins.of(tensor), []).append(tensor)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def with_one_range(
    ranges: Mapping[str, QParams], groups: Sequence[Sequence[str]]
) -> tuple[dict[str, QParams], dict[str, str]]:
    """``ranges`` in which the tensors of a group have one, but for those much narrower than it;
    and tensor -> the first of those that share its range."""
    together, first = dict(ranges), {}
    for group in groups:
        for members in _of_like_width(ranges, group):
            ends = [_ends(ranges[tensor]) for tensor in members]
            one = activation_qparams(min(e[0] for e in ends), max(e[1] for e in ends), "uint8")
            together.update(dict.fromkeys(members, one))
            first.update(dict.fromkeys(members, members[0]))
    return together, first


def _of_like_width(ranges: Mapping[str, QParams], group: Sequence[str]) -> Iterator[list[str]]:
    def width(tensor: str) -> float:
        low, high = _ends(ranges[tensor])
        return high - low

    left = sorted(group, key=width, reverse=True)
    while left:
        members: list[str] = []
        low, high = _ends(ranges[left[0]])
        for tensor in left:
            own = _ends(ranges[tensor])
            wide = (min(low, own[0]), max(high, own[1]))
            if width(tensor) < _LEAST_SHARE * (wide[1] - wide[0]):
                continue
            members.append(tensor)
            low, high = wide
        yield [tensor for tensor in group if tensor in members]
        left = [tensor for tensor in left if tensor not in members]


def _ends(params: QParams) -> tuple[float, float]:
    scale, zero = float(params.scale), int(params.zero_point)
    return -zero * scale, (255 - zero) * scale


class _Origins:
    """A number for how each tensor comes about: the same for tensors that are alike."""

    def __init__(self, graph: Graph, anchors: Mapping[str, str]) -> None:
        self._graph = graph
        self._numbers: dict[Hashable, int] = {}
        #: What products of a weight read is alike, wherever it comes from: a state is computed of
        #: the state before.
        self._found: dict[str, int] = {}
        for node in graph.nodes:
            if node.name in anchors:
                origin = ("read by", anchors[node.name])
                self._found.setdefault(node.input[0], self._number(origin))
        for node in graph.nodes:
            if node.name in anchors:
                origins: tuple[int, ...] = tuple(self.of(name) for name in node.input[1:])
            else:
                origins = tuple(self.of(name) for name in node.input)
            attributes = sorted(each.SerializeToString() for each in node.attribute)
            made = (kind_of(node), tuple(attributes), origins, node.name in anchors)
            for place, name in enumerate(node.output):
                self._found.setdefault(name, self._number((made, place)))

    def of(self, tensor: str) -> int:
        """The number of a tensor whose producer was seen, of a constant or of an input."""
        if tensor not in self._found:
            value = self._graph.constant(tensor)
            origin: Hashable = tensor
            if value is not None:
                origin = (value.dtype.str, value.shape, value.tobytes())
            self._found[tensor] = self._number(origin)
        return self._found[tensor]

    def _number(self, origin: Hashable) -> int:
        return self._numbers.setdefault(origin, len(self._numbers))
