"""A prepared ONNX graph, looked up by name: who makes a tensor, who reads it, what is constant."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from tvmcomp.frontend.onnx.node_facts import GraphFacts, TensorFacts, attributes_of


class Graph:
    """An ONNX graph and its index, which holds until the graph is changed.

    Attributes:
        model: the model.
        nodes: in the order that they run in.
        producer: tensor -> the node that gives it.
        readers: tensor -> the nodes that read it, None for an output of the graph.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[onnx.NodeProto | None]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
        for value in model.graph.output:
            self.readers.setdefault(value.name, []).append(None)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._arrays: dict[str, np.ndarray] = {}
        self._facts = GraphFacts.of(model.graph).tensors

    def is_constant(self, name: str) -> bool:
        """Whether the tensor is an initializer."""
        return name in self._tensors

    def constant(self, name: str) -> np.ndarray | None:
        """The value of an initializer; None of any other tensor, and of none."""
        if name not in self._tensors:
            return None
        if name not in self._arrays:
            self._arrays[name] = numpy_helper.to_array(self._tensors[name])
        return self._arrays[name]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The tensor's sizes; None where one is not known."""
        facts = self._facts.get(name)
        if facts is None or facts.shape is None or None in facts.shape:
            return None
        return tuple(int(size) for size in facts.shape if size is not None)

    def is_float(self, name: str) -> bool:
        """Whether the tensor is known to be float32."""
        facts = self._facts.get(name)
        return facts is not None and facts.dtype == "float32"

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads the tensor; None where there are none or several, or where it
        is an output of the graph."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 else None

    def bias_of(self, node: onnx.NodeProto) -> str:
        """The constant that is added to a node's results, by itself or by the node behind; ``""``
        where there is none."""
        if len(node.input) > 2 and node.input[2]:
            return str(node.input[2])
        reader = self.only_reader(node.output[0])
        if kind_of(node) != "MatMul" or reader is None or kind_of(reader) != "Add":
            return ""
        other = [name for name in reader.input if name != node.output[0]]
        return str(other[0]) if len(other) == 1 and self.is_constant(other[0]) else ""

    def free_name(self, wanted: str) -> str:
        """``wanted``, or that with a number behind it, which no tensor is called."""
        taken = {*self.producer, *self._tensors, *self._facts}
        name, number = wanted, 1
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        self._facts[name] = TensorFacts()
        return name

    def add_constant(self, name: str, array: np.ndarray) -> str:
        """Add an initializer called ``name``, or nearly so; gives its name."""
        name = self.free_name(name)
        tensor = numpy_helper.from_array(np.asarray(array), name)
        self.model.graph.initializer.append(tensor)
        self._tensors[name], self._arrays[name] = self.model.graph.initializer[-1], array
        return name


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a network came quantized: its weights, or its data."""
    return any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in model.graph.node)


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy, which may be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def set_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Give the graph other nodes, in order, and drop the initializers that none of them reads."""
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    read |= {value.name for value in model.graph.output}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)


def kind_of(node: onnx.NodeProto) -> str:
    """The node's operator, with ``com.microsoft.`` or the like before one of another domain."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    return f"{domain}.{node.op_type}" if domain else str(node.op_type)


def attribute(node: onnx.NodeProto, name: str, default: object = None) -> object:
    """An attribute's value, strings as text."""
    return attributes_of(node).get(name, default)
