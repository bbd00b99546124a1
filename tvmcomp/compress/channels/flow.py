"""Where channels go: each axis of each tensor as classes, found by a rule for each operator.

The operators say which axes of what they read and give are the same channels, where channels are
summed over (``reads``), where new ones come from (``makes``), and which numbers of theirs (a shape,
a count of groups) change with the channels (``on_cut``). A constant's axes are free until a rule
ties them, so weights need no rule of their own, and one that several nodes read ties them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from tvmcomp.compress.channels.classes import Axis, Classes
from tvmcomp.compress.fake_quantize.graph import Graph
from tvmcomp.frontend.onnx.node_facts import attributes_of

STAYS = "it is tied to what stays as it is, by {}"


@dataclass(frozen=True)
class Read:
    """A sum over channels, which those that read as zero add nothing to.

    Attributes:
        node: its name.
        place: which of the node's inputs has the channels.
        axis: of that input, from 0.
        classes: of its positions.
    """

    node: str
    place: int
    axis: int
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Made:
    """Channels that come out of a weight.

    Attributes:
        node: the name of the node that multiplies by it.
        classes: of the channels, in order.
    """

    node: str
    classes: NDArray[np.int64]


#: Changes a node of the smaller network.
Edit = Callable[["Editor"], None]


@dataclass
class Editor:
    """A node of the smaller network, to be changed.

    Attributes:
        node: it.
        kept: tells of each position of an axis whether it is kept; None of an axis that stays.
        set_input: gives an input another constant: its place and value.
    """

    node: onnx.NodeProto
    kept: Callable[[Axis], NDArray[np.bool_] | None]
    set_input: Callable[[int, NDArray[Any]], None]

    def count(self, axis: Axis, size: int) -> int:
        """How long an axis becomes that is ``size`` long."""
        kept = self.kept(axis)
        return size if kept is None else int(kept.sum())

    def set_attribute(self, name: str, value: Any) -> None:
        """Give the node an attribute in place of what it has."""
        others = [each for each in self.node.attribute if each.name != name]
        del self.node.attribute[:]
        self.node.attribute.extend([*others, onnx.helper.make_attribute(name, value)])


@dataclass
class NodeFlow:
    """A node as its rule sees it.

    Attributes:
        flow: all that is known so far.
        node: the node.
        inputs, outputs: names, empty for what is left out.
        attributes: those that it has.
    """

    flow: Flow
    node: onnx.NodeProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def classes(self) -> Classes:
        """The partition."""
        return self.flow.classes

    @property
    def title(self) -> str:
        """The node for a person."""
        return f"{self.node.name} ({self.node.op_type})"

    @property
    def opset(self) -> int:
        """The operator set of the graph."""
        return self.flow.opset

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        return self.attributes.get(name, default)

    def has(self, place: int) -> bool:
        """Whether there is an input at ``place``."""
        return place < len(self.inputs) and bool(self.inputs[place])

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self.flow.shapes[name]

    def axes(self, place: int) -> list[Axis]:
        """The axes of the input at ``place``."""
        return self.flow.axes_of(self.inputs[place])

    def value(self, place: int) -> NDArray[Any] | None:
        """A constant input; None of one that is left out or computed."""
        return self.flow.graph.constant(self.inputs[place]) if self.has(place) else None

    def unify(self, first: Axis, second: Axis) -> Axis:
        """Tie two axes; None where they stay."""
        return self.classes.unify(first, second, STAYS.format(self.title))

    def pin(self, axis: Axis, why: str) -> None:
        """Let an axis stay, because the node does ``why``."""
        self.classes.pin(axis, f"{self.title} {why}")

    def reads(self, place: int, axis: int, classes: Axis) -> None:
        """Note that the node sums over an axis of an input."""
        if classes is not None:
            self.flow.reads.append(Read(self.node.name, place, axis, classes))

    def makes(self, classes: Axis) -> None:
        """Note that channels come from a weight of the node."""
        if classes is not None:
            self.flow.made.append(Made(self.node.name, classes))

    def takes(self, part: Axis) -> Axis:
        """Note that the node takes a part of an axis, of which something must stay; gives None of
        a single channel, which therefore stays."""
        if part is None:
            return None
        if self.classes.distinct(part) == 1:
            self.pin(part, "takes one of them by itself")
            return None
        self.flow.parts.append(part)
        return part

    def on_cut(self, edit: Edit) -> None:
        """Change the node of the smaller network."""
        self.flow.edits.setdefault(self.node.name, []).append(edit)

    def gives(self, *outputs: Sequence[Axis]) -> None:
        """Say what the axes of the outputs are."""
        for name, axes in zip(self.outputs, outputs, strict=False):
            if name:
                self.flow.axes[name] = list(axes)

    def stays(self) -> None:
        """Nothing is known of the node: what it reads stays, and what it gives."""
        for name in self.inputs:
            if name and name in self.flow.shapes:
                for axis in self.flow.axes_of(name):
                    self.pin(axis, "takes them as they are")
        self.gives(*([None] * len(self.flow.shapes.get(name, ())) for name in self.outputs))


Rule = Callable[[NodeFlow], None]


@dataclass
class Flow:
    """What is known of a graph's axes.

    Attributes:
        graph: the graph.
        shapes: of all tensors that are known.
        opset: the graph's operator set.
        choices: of nodes that may carry channels on along one of several axes, which they take.
        classes: the partition.
        axes: of each tensor, constants included.
        reads, made: see :class:`Read` and :class:`Made`.
        parts: of axes, taken by themselves, of which something must stay.
        edits: by node.
        options: nodes that had a choice -> how many there were, and the channels concerned.
    """

    graph: Graph
    shapes: dict[str, tuple[int, ...]]
    opset: int
    choices: Mapping[str, int]
    classes: Classes = field(default_factory=Classes)
    axes: dict[str, list[Axis]] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    parts: list[NDArray[np.int64]] = field(default_factory=list)
    edits: dict[str, list[Edit]] = field(default_factory=dict)
    options: dict[str, tuple[int, NDArray[np.int64]]] = field(default_factory=dict)

    def axes_of(self, name: str) -> list[Axis]:
        """The axes of a tensor; those of a constant are free at first."""
        if name not in self.axes:
            shape = self.shapes[name]
            free = self.graph.is_constant(name)
            self.axes[name] = [
                self.classes.fresh(size) if free and size > 1 else None for size in shape
            ]
        return self.axes[name]

    def node(self, node: onnx.NodeProto) -> NodeFlow:
        """A node for its rule."""
        return NodeFlow(self, node, tuple(node.input), tuple(node.output), attributes_of(node))


def has_graph(node: onnx.NodeProto) -> bool:
    """Whether a node holds a graph of its own."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
