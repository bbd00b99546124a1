"""A network of one sample, run on many at once.

A graph says its batch wherever a shape is written out: ``Reshape`` to ``[1, 27]``. Where nothing
else speaks against it, the shapes are rewritten so that all samples go through together, which
torch does several times as fast as one after the other. ``torch.func.vmap`` does it for most of the
rest, and what it can't goes one by one.

    x [1, 3, 8, 8] -> Reshape [1, 192] -> MatMul          one sample
    x [n, 3, 8, 8] -> Reshape [-1, 192] -> MatMul         n of them, along axis 0

The axis that samples lie along is not told by the operators but seen: two samples are run one by
one and together, and each tensor of the joint run has to hold both results, one after the other
along an axis. So an operator that mixes samples is found too, whichever it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from tvmcomp.compress.network import TrainableNetwork, compute_node
from tvmcomp.compress.operators.table import Node, Tensor, operator
from tvmcomp.errors import ModelError

#: Of a tensor's norm: what the order of a sum's terms changes, and with it now and then a rounding.
_CLOSE = 1e-2
_ALONG = "tvmcomp.RepeatAlong"


class BatchedNetwork:
    """A trainable network that many samples go through at once.

    Attributes:
        network: its parameters are the ones to train.
        model: the graph as it was given.
        together: whether the shapes could be rewritten.
    """

    def __init__(self, model: onnx.ModelProto, samples: Sequence[Mapping[str, Any]]) -> None:
        """Args:
        model: as :func:`tvmcomp.frontend.onnx.prepare.prepare` leaves it.
        samples: two of what it is given, or one.

        Raises:
            ModelError: torch can't compute it, or its course depends on data.
        """
        self.model = model
        self.network = TrainableNetwork(model)
        pair = [samples[0], samples[-1]]
        inputs = [
            [torch.from_numpy(np.ascontiguousarray(s[n])) for n in self.network.inputs]
            for s in pair
        ]
        with torch.no_grad():
            #: Shape of each tensor of one sample, and the axis that samples lie along.
            found = _Joint(self.network, *inputs).rewritten()
        self.together = found is not None
        self._vmap = True
        if found is not None:
            self._axes, self._shapes, graph = found
            self.network = TrainableNetwork(graph)

    def run(self, inputs: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
        """The tensors called ``wanted``, each with an axis of samples before its own.

        Args:
            inputs: for each input a tensor of its shape, with an axis of samples before it.
            wanted: names of tensors of the graph.

        Raises:
            ModelError: a node can't be computed; says which.
        """
        given = [inputs[name] for name in self.network.inputs]
        names = tuple(wanted)
        if not self.together:
            return self._one_by_one(given, names)
        count = len(given[0])
        joined = [
            _joined(x, self._axes[name]) for name, x in zip(self.network.inputs, given, strict=True)
        ]
        values = self.network.run(joined, names)
        return {name: self._apart(name, value, count) for name, value in values.items()}

    def _one_by_one(self, given: Sequence[Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
        if self._vmap:
            try:
                return torch.func.vmap(lambda *each: self.network.run(each, names))(*given)
            except (ModelError, RuntimeError, TypeError, ValueError):
                self._vmap = False  # numpy computes a part of it, or data decide its course
        runs = [self.network.run(each, names) for each in zip(*given, strict=True)]
        return {name: torch.stack([run[name] for run in runs]) for name in names}

    def trained(self) -> onnx.ModelProto:
        """The graph as it was given, with the weights as they are now."""
        plain = TrainableNetwork(self.model)
        with torch.no_grad():
            mine = self.network.weights()
            for name, weight in plain.weights().items():
                weight.copy_(mine[name])
        return plain.to_onnx()

    def _apart(self, name: str, value: Tensor, count: int) -> Tensor:
        axis = self._axes.get(name)
        if axis is None:  # it does not depend on the sample
            return value.expand(count, *value.shape)
        return _split(value, axis, self._shapes[name], count)


@operator(_ALONG)
def _repeat_along(node: Node, x: Tensor, like: Tensor) -> Tensor:
    """``x`` so often along an axis as there are samples in ``like``, which has them along it."""
    axis = node["axis"]
    repeats = [1] * x.ndim
    repeats[axis] = like.shape[axis] // node["size"]
    return x.repeat(repeats)


def _joined(x: Tensor, axis: int) -> Tensor:
    """Samples ``[n, *shape]`` one after the other along ``axis`` of their shape."""
    return x.movedim(0, axis).flatten(axis, axis + 1)


def _split(x: Tensor, axis: int, shape: Sequence[int], count: int) -> Tensor:
    """What :func:`_joined` joined, apart again."""
    return x.reshape(*shape[:axis], count, *shape[axis:]).movedim(axis, 0)


class _Mixed(Exception):
    """Samples can't go through together."""


class _Joint:
    """Two samples through a network, one by one and together, node by node.

    Attributes:
        axes: of tensors that depend on the sample: the axis that samples lie along.
        shapes: of those, the shape for one sample.
    """

    def __init__(self, network: TrainableNetwork, first: list[Tensor], second: list[Tensor]):
        self.network = network
        self.axes: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        constants = network.constants()
        self.each: list[dict[str, Any]] = [{**constants}, {**constants}]
        self.both: dict[str, Any] = {**constants}
        #: How many nodes are still to read a tensor.
        self.readers = Counter(name for node in network.nodes for name in set(node.inputs))
        self.graph = onnx.ModelProto()
        self.graph.CopyFrom(network.model)
        del self.graph.graph.node[:]
        for name, *values in zip(network.inputs, first, second, strict=True):
            shape = tuple(values[0].shape)
            self.axes[name] = shape.index(1) if 1 in shape else 0
            self.shapes[name] = shape
            for own, value in zip(self.each, values, strict=True):
                own[name] = value
            if shape:
                self.both[name] = _joined(torch.stack(values), self.axes[name])

    def rewritten(
        self,
    ) -> tuple[dict[str, int], dict[str, tuple[int, ...]], onnx.ModelProto] | None:
        """The axes, the shapes and the graph for many samples; None where there is none."""
        if any(not shape for shape in self.shapes.values()):
            return None
        try:
            for node in self.network.nodes:
                self.node(node)
            if any(name not in self.axes for name in self.network.outputs):
                return None
        except (_Mixed, RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):
            return None
        return self.axes, self.shapes, self.graph

    def node(self, node: Node) -> None:
        """Run a node thrice, and write it as it goes for many samples.

        Raises:
            _Mixed: its results for two samples together are not those for each, side by side.
        """
        alone = [_computed(node, values) for values in self.each]
        changed = node.proto
        if any(name in self.axes for name in node.inputs):
            changed = self.changed(node, alone[0])
        self.graph.graph.node.append(changed)
        inputs = tuple(changed.input)
        arguments = tuple(self.both[name] if name else None for name in inputs)
        together = compute_node(
            _with(node, changed) if changed is not node.proto else node, arguments
        )
        for values, results in zip((*self.each, self.both), (*alone, together), strict=True):
            values.update(zip(node.outputs, results, strict=False))
        if any(name in self.axes for name in inputs):
            for name, first, second, both in zip(node.outputs, *alone, together, strict=False):
                if name and first is not None:
                    self.axes[name] = _axis(first, second, both)
                    self.shapes[name] = tuple(first.shape)
        self.readers.subtract(set(node.inputs))
        for name in node.inputs:
            if not self.readers[name]:
                for values in (*self.each, self.both):
                    values.pop(name, None)

    def changed(self, node: Node, results: Sequence[Tensor | None]) -> onnx.NodeProto:
        """A node whose data has samples along an axis, for any number of them."""
        proto = onnx.NodeProto()
        proto.CopyFrom(node.proto)
        if node.operator == "Reshape" and isinstance(results[0], torch.Tensor):
            source = node.inputs[0]
            sizes = list(results[0].shape)
            before = math.prod(self.shapes[source][: self.axes[source]])
            # The samples are outermost in the axis that begins where theirs did.
            places = [i for i in range(len(sizes)) if math.prod(sizes[:i]) == before]
            if not places:
                raise _Mixed
            sizes[places[0]] = -1
            proto.input[1] = self.constant(node, np.array(sizes, "int64"))
        elif node.operator == "Concat":
            self.widen(node, proto)
        elif node.operator == "Resize" and len(node.inputs) > 3 and node.inputs[3]:
            axis = self.axes[node.inputs[0]]
            sizes = self.each[0][node.inputs[3]].tolist()
            axes = node.get("axes", list(range(len(sizes))))
            kept = {a: size for a, size in zip(axes, sizes, strict=True) if a != axis}
            proto.input[3] = self.constant(node, np.array(list(kept.values()), "int64"))
            for attribute in [a for a in proto.attribute if a.name == "axes"]:
                proto.attribute.remove(attribute)
            proto.attribute.append(helper.make_attribute("axes", list(kept)))
        return proto

    def widen(self, node: Node, proto: onnx.NodeProto) -> None:
        """Repeat for each sample what is joined to data and does not depend on it."""
        like = next(name for name in node.inputs if name in self.axes)
        axis = self.axes[like]
        for position, name in enumerate(node.inputs):
            if name in self.axes:
                continue
            repeated = f"{node.outputs[0]}.{position}"
            repeat = helper.make_node(
                "RepeatAlong", [name, like], [repeated], domain="tvmcomp",
                axis=axis, size=self.shapes[like][axis],
            )  # fmt: skip
            self.graph.graph.node.append(repeat)
            proto.input[position] = repeated
            value, sample = self.both[name], self.both[like]
            times = sample.shape[axis] // self.shapes[like][axis]
            self.both[repeated] = value.repeat(
                [times if a == axis else 1 for a in range(value.ndim)]
            )

    def constant(self, node: Node, value: np.ndarray) -> str:
        name = f"{node.outputs[0]}.sizes"
        self.graph.graph.initializer.append(numpy_helper.from_array(value, name))
        self.both[name] = torch.from_numpy(value)
        return name


def _computed(node: Node, values: Mapping[str, Any]) -> tuple[Tensor | None, ...]:
    return compute_node(node, tuple(values[name] if name else None for name in node.inputs))


def _with(node: Node, proto: onnx.NodeProto) -> Node:
    """A node with the inputs, and the axes, that its changed form has."""
    axes = [list(a.ints) for a in proto.attribute if a.name == "axes"]
    attributes = {**node.attributes, **({"axes": axes[0]} if axes else {})}
    return replace(node, proto=proto, inputs=tuple(proto.input), attributes=attributes)


def _axis(first: Any, second: Any, both: Any) -> int:
    """The axis along which ``both`` holds ``first`` and then ``second``.

    Raises:
        _Mixed: there is none.
    """
    if (
        not isinstance(first, torch.Tensor)
        or not isinstance(both, torch.Tensor)
        or both.ndim != first.ndim
    ):
        raise _Mixed
    pairs = list(zip(first.shape, both.shape, strict=True))
    wider = [axis for axis, (one, two) in enumerate(pairs) if one != two]
    if len(wider) != 1 or pairs[wider[0]][1] != 2 * pairs[wider[0]][0]:
        raise _Mixed
    axis = wider[0]
    want, got = torch.cat([first, second], axis).double(), both.double()
    finite = torch.isfinite(want)
    error = (torch.where(finite, got, 0) - torch.where(finite, want, 0)).norm()
    if not error <= _CLOSE * torch.where(finite, want, 0).norm():
        raise _Mixed
    return axis
