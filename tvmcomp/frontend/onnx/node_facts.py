"""What is known of a node before it is converted: attributes, and its inputs' types and values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from tvmcomp.tvm_types import Expr

#: Constants of more elements are weights, whose values say nothing of shapes.
MOST_ELEMENTS = 1024
#: An attribute is shown up to this length.
_SHOWN = 60


@dataclass(frozen=True)
class TensorFacts:
    """A tensor, as far as it is known.

    Attributes:
        dtype: its numpy name; None where unknown.
        shape: its sizes, None for one that is unknown; None where not even the rank is known.
        value: its elements, where it is a small constant.
    """

    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None
    value: np.ndarray | None = None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype or '?'}[…]"
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype or '?'}[{sizes}]"


@dataclass(frozen=True)
class NodeFacts:
    """A node with its attributes' values (strings as text), its inputs and outputs.

    None stands for an input or output that is left out.
    """

    node: onnx.NodeProto
    opset: int
    attributes: dict[str, Any]
    inputs: tuple[TensorFacts | None, ...] = ()
    outputs: tuple[TensorFacts | None, ...] = ()

    def input(self, index: int) -> TensorFacts | None:
        """The input at ``index``, None also past the end."""
        return self.inputs[index] if index < len(self.inputs) else None

    def shape(self, index: int) -> tuple[int, ...] | None:
        """The static shape of an input; None where it is left out or not wholly known."""
        tensor = self.input(index)
        if tensor is None or tensor.shape is None or None in tensor.shape:
            return None
        return tuple(int(size) for size in tensor.shape if size is not None)

    def rank(self, index: int) -> int | None:
        """The number of dimensions of an input; None where it is left out or not known."""
        tensor = self.input(index)
        return None if tensor is None or tensor.shape is None else len(tensor.shape)

    def value(self, index: int) -> np.ndarray | None:
        """The value of a small constant input; None of any other."""
        tensor = self.input(index)
        return None if tensor is None else tensor.value

    def __str__(self) -> str:
        """Name, operator, inputs and attributes, for an error."""
        what = self.node.op_type
        if any(each and each.dtype for each in self.inputs):
            what += " of " + ", ".join("none" if i is None else str(i) for i in self.inputs)
        parts = [what, *(f"{key}={_text(value)}" for key, value in self.attributes.items())]
        return f"node {self.node.name!r} ({'; '.join(parts)})"


@dataclass
class GraphFacts:
    """What is known of the tensors of a graph, by name."""

    tensors: dict[str, TensorFacts] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> GraphFacts:
        """Collect what ``graph`` says: of inputs, inferred tensors, outputs and initializers."""
        tensors = {
            value.name: _of_type(value.type.tensor_type)
            for value in (*graph.input, *graph.value_info, *graph.output)
        }
        for tensor in graph.initializer:
            tensors[tensor.name] = _of_tensor(tensor)
        for node in graph.node:
            if node.op_type == "Constant" and node.output:
                for attribute in node.attribute:
                    if attribute.name == "value":
                        tensors[node.output[0]] = _of_tensor(attribute.t)
        return cls(tensors)

    def node(self, node: onnx.NodeProto, opset: int) -> NodeFacts:
        """What is known of ``node``."""
        inputs, outputs = (
            tuple(self.tensors.get(name, TensorFacts()) if name else None for name in names)
            for names in (node.input, node.output)
        )
        return NodeFacts(node, opset, attributes_of(node), inputs, outputs)


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The values of a node's attributes; strings as text, whatever bytes they hold."""
    return {
        a.name: a if a.ref_attr_name else _plain(onnx.helper.get_attribute_value(a))
        for a in node.attribute
    }


def _plain(value: Expr) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def _of_type(tensor_type: onnx.TypeProto.Tensor) -> TensorFacts:
    shape = None
    if tensor_type.HasField("shape"):
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") else None for dim in tensor_type.shape.dim
        )
    return TensorFacts(_dtype(tensor_type.elem_type), shape)


def _of_tensor(tensor: onnx.TensorProto) -> TensorFacts:
    value = None
    if np.prod(tensor.dims, dtype=float) <= MOST_ELEMENTS:
        value = onnx.numpy_helper.to_array(tensor)
    return TensorFacts(_dtype(tensor.data_type), tuple(tensor.dims), value)


def _dtype(element_type: int) -> str | None:
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(element_type))
    except (KeyError, ValueError):
        return None


def _text(value: Expr) -> str:
    if isinstance(value, onnx.AttributeProto):
        return f"<attribute {value.ref_attr_name} of a function>"
    if isinstance(value, onnx.TensorProto | onnx.GraphProto | onnx.SparseTensorProto):
        return f"<{type(value).__name__.removesuffix('Proto').lower()}>"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
