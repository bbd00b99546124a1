"""Which channels of a network go together, and which can't go.

Every node's rule ties the axes of what it reads and gives (:mod:`tvmcomp.compress.channels.flow`).
Channels that are tied are one class. Classes that come from the same weights, are read by the
same operators and lie in the same parts of axes are a group: they are alike, but for what they are
worth, and any of them may go, as long as one stays: so no part of an axis that an operator takes
gets empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from tvmcomp.compress.channels.classes import Axis
from tvmcomp.compress.channels.flow import Flow, Made, has_graph
from tvmcomp.compress.channels.rules.table import all_rules
from tvmcomp.compress.fake_quantize.graph import Graph, kind_of
from tvmcomp.frontend.onnx.file import opset_version

#: Nodes with a choice that others are tried for; each costs a pass over the graph.
_MOST_CHOICES = 32
#: Reasons, and operators, that a person is told of.
_NAMED = 4
_ALONE = "they could only go all together"
_UNREAD = "nothing sums over them"


@dataclass(frozen=True)
class Group:
    """Channels that are alike.

    Attributes:
        name: of the first node that they come from.
        classes: each one channel, or what has to go with it (a head, the same of each group).
        makers: nodes whose weights they come from, in the graph's order.
        readers: nodes that sum over them.
    """

    name: str
    classes: tuple[int, ...]
    makers: tuple[str, ...]
    readers: tuple[str, ...]


@dataclass(frozen=True)
class Fixed:
    """Channels that can't go.

    Attributes:
        node: that they come from.
        channels: how many.
        reason: why.
    """

    node: str
    channels: int
    reason: str


@dataclass(frozen=True)
class Groups:
    """A network's groups.

    Attributes:
        model: the network.
        flow: where its channels go.
        groups: in the order of the graph.
        fixed: what can't go.
    """

    model: onnx.ModelProto
    flow: Flow
    groups: tuple[Group, ...]
    fixed: tuple[Fixed, ...]

    def kept(self, axis: Axis, removed: Iterable[int]) -> NDArray[np.bool_] | None:
        """Of each position of an axis whether it stays where the classes ``removed`` go; None of
        an axis that stays as a whole."""
        if axis is None:
            return None
        gone = np.fromiter(removed, np.int64)
        mask: NDArray[np.bool_] = ~np.isin(self.flow.classes.roots(axis), gone)
        return mask


def find_groups(model: onnx.ModelProto) -> Groups:
    """The groups of a prepared graph, whose shapes are known."""
    graph = Graph(model)
    choices: dict[str, int] = {}
    flow = _flow(graph, choices)
    free = _free(flow)
    for key, (count, axis) in list(flow.options.items())[:_MOST_CHOICES]:
        if any(flow.classes.reason(int(root)) is None for root in flow.classes.roots(axis)):
            continue
        for choice in range(1, count):
            other = _flow(graph, {**choices, key: choice})
            if (more := _free(other)) > free:
                choices, flow, free = {**choices, key: choice}, other, more
                break
    return Groups(model, flow, tuple(_groups(flow)), tuple(_fixed(flow)))


def _flow(graph: Graph, choices: Mapping[str, int]) -> Flow:
    rules = all_rules()
    names = {*graph.producer, *(name for node in graph.nodes for name in node.input)}
    shapes = {name: shape for name in names if (shape := graph.shape(name)) is not None}
    flow = Flow(graph, shapes, opset_version(graph.model), choices)
    for node in graph.nodes:
        seen = flow.node(node)
        rule = rules.get(kind_of(node))
        known = all(name in shapes for name in (*node.input, *node.output) if name)
        if rule is None or not known or has_graph(node):
            seen.stays()
        else:
            rule(seen)
        for name in _captured(node):
            for axis in flow.axes_of(name) if name in shapes else ():
                seen.pin(axis, "takes them as they are")
    for value in graph.model.graph.output:
        for axis in flow.axes_of(value.name) if value.name in shapes else ():
            flow.classes.pin(axis, "they are what the network gives")
    return flow


def _captured(node: onnx.NodeProto) -> Iterator[str]:
    """What the graphs within a node read."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from inner.input
                yield from _captured(inner)


def _free(flow: Flow) -> int:
    return sum(
        sum(flow.classes.reason(root) is None for root in _distinct(flow, made))
        for made in flow.made
    )


def _distinct(flow: Flow, made: Made) -> list[int]:
    return list(dict.fromkeys(flow.classes.roots(made.classes).tolist()))


def _groups(flow: Flow) -> Iterator[Group]:
    for (made_by, read_by, _), roots in _alike(flow).items():
        if len(roots) > 1:
            by = tuple(dict.fromkeys(node for node, _, _ in read_by))
            yield Group(made_by[0], tuple(roots), made_by, by)


#: Makers, reads (node, place, axis), and numbers of parts.
_Key = tuple[tuple[str, ...], tuple[tuple[str, int, int], ...], tuple[int, ...]]


def _alike(flow: Flow) -> dict[_Key, list[int]]:
    """Classes that may go, by what makes them alike."""
    makers: dict[int, dict[str, None]] = {}
    readers: dict[int, dict[tuple[str, int, int], None]] = {}
    parts: dict[int, list[int]] = {}
    for made in flow.made:
        for root in _distinct(flow, made):
            makers.setdefault(root, {})[made.node] = None
    for read in flow.reads:
        for root in dict.fromkeys(flow.classes.roots(read.classes).tolist()):
            readers.setdefault(root, {})[read.node, read.place, read.axis] = None
    for number, part in enumerate(flow.parts):
        for root in dict.fromkeys(flow.classes.roots(part).tolist()):
            parts.setdefault(root, []).append(number)
    alike: dict[_Key, list[int]] = {}
    for root, nodes in makers.items():
        if root in readers and flow.classes.reason(root) is None:
            key = (tuple(nodes), tuple(readers[root]), tuple(parts.get(root, ())))
            alike.setdefault(key, []).append(root)
    return alike


def _fixed(flow: Flow) -> Iterator[Fixed]:
    together = {root: len(roots) for roots in _alike(flow).values() for root in roots}
    for made in flow.made:
        reasons: dict[str, int] = {}
        roots = flow.classes.roots(made.classes)
        for root in _distinct(flow, made):
            reason, count = flow.classes.reason(root), 1
            if reason is None:
                if together.get(root, 0) > 1:
                    continue
                reason = _ALONE if root in together else _UNREAD
                count = int((roots == root).sum())
            reasons[reason] = reasons.get(reason, 0) + count
        for reason, count in reasons.items():
            yield Fixed(made.node, count, reason)


def fixed_channels(groups: Groups) -> Iterator[str]:
    """What can't be cut and why, a sentence for each of the first reasons."""
    reasons: dict[str, list[str]] = {}
    for fixed in groups.fixed:
        reasons.setdefault(fixed.reason, []).append(f"{fixed.channels} of {fixed.node}")
    for reason, nodes in list(reasons.items())[:_NAMED]:
        more = f" and of {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
        yield f"channels that stay: {', '.join(nodes[:_NAMED])}{more}: {reason}"
