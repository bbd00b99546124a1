"""An ONNX network in torch: its nodes run in order, its weights are parameters."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from tvmcomp.compress.operators.reference import run_reference
from tvmcomp.compress.operators.table import OPERATORS, Node, Tensor, torch_dtype
from tvmcomp.compress.sparsify.held import held_zeros
from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.microsoft import IN_STANDARD_DOMAIN
from tvmcomp.frontend.onnx.node_facts import attributes_of
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN, QUANTIZED_LSTM, add_function

#: Each enters its operators in the table.
for _family in ("attention", "cluster", "elementwise", "fake_quantize", "moves",
                "normalizations", "products", "quantization", "recurrent", "reductions",
                "resizing", "sequences", "windows"):  # fmt: skip
    importlib.import_module(f"tvmcomp.compress.operators.{_family}")


class TrainableNetwork(torch.nn.Module):  # type: ignore[misc]
    """A network as torch computes it, operator by operator.

    Its parameters are the float constants of the graph, but for those that are numbers of an
    operator (the bounds of a Clip, the sizes of a Resize). What no gradient flows through, because
    torch has no such operator, is named in :attr:`without_gradient`. Zeros that stay
    (:mod:`tvmcomp.compress.sparsify.held`) get no gradient.

    Attributes:
        model: the graph; its weights are those that the network was made with.
        nodes: in the order that they run in.
        without_gradient: nodes that ONNX's reference computes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Args:
        model: as :func:`tvmcomp.frontend.onnx.prepare.prepare` leaves it.

        Raises:
            ModelError: a node has a branch or a loop whose course depends on data.
        """
        super().__init__()
        self.model = model
        types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        self.nodes = [_read(node, opset_version(model), types) for node in model.graph.node]
        self.without_gradient = tuple(n.name for n in self.nodes if n.operator not in OPERATORS)
        self.inputs = tuple(value.name for value in model.graph.input)
        self.outputs = tuple(value.name for value in model.graph.output)
        #: What is quantized is computed in whole numbers of a float type, and given as integers.
        self._output_types = [
            torch_dtype(value.type.tensor_type.elem_type) for value in model.graph.output
        ]
        fixed = self._settings()
        #: Constant -> its name among the parameters, or the buffers, which may hold no dots.
        self._names: dict[str, str] = {}
        for index, tensor in enumerate(model.graph.initializer):
            value = _value(tensor)
            own = self._names[tensor.name] = f"constant_{index}"
            if value.is_floating_point() and tensor.name not in fixed:
                self.register_parameter(own, torch.nn.Parameter(value))
            else:
                self.register_buffer(own, value)
        self._last_use = self._last_uses()
        weights = self.weights()
        for name in held_zeros(model) & weights.keys():
            weights[name].register_hook(_without_zeros(weights[name]))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in the graph's order."""
        values = self.run(inputs, self.outputs)
        typed = zip(self.outputs, self._output_types, strict=True)
        return tuple(values[name].to(dtype) for name, dtype in typed)

    def run(self, inputs: Iterable[Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
        """The tensors called ``wanted``, be they outputs or not.

        Raises:
            ModelError: a node can't be computed; says which.
        """
        kept = frozenset(wanted)
        values: dict[str, Any] = self.constants()
        values.update(zip(self.inputs, inputs, strict=True))
        for index, node in enumerate(self.nodes):
            arguments = tuple(values[name] if name else None for name in node.inputs)
            try:
                results = compute_node(node, arguments)
            except Exception as error:
                reason = " ".join(str(error).split())[:300]
                raise ModelError(
                    f"node {node.name!r} ({node.operator}) can't be computed in torch: "
                    f"{type(error).__name__}: {reason}"
                ) from error
            values.update(zip(node.outputs, results, strict=False))
            for name in self._last_use[index] - kept:
                del values[name]
        # A constant that is an output, like a detector's anchors, stays what it is.
        return {
            name: values[name].detach() if name in self._names else values[name] for name in kept
        }

    def constants(self) -> dict[str, Tensor]:
        """All constants by their names in the graph, trained or not."""
        return {name: getattr(self, own) for name, own in self._names.items()}

    def weights(self) -> Mapping[str, torch.nn.Parameter]:
        """The parameters, by their names in the graph."""
        parameters = dict(self.named_parameters())
        return {n: parameters[own] for n, own in self._names.items() if own in parameters}

    def to_onnx(self) -> onnx.ModelProto:
        """The graph with the weights as they are now."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        trained = self.weights()
        for tensor in model.graph.initializer:
            if tensor.name in trained:
                array = trained[tensor.name].detach().cpu().numpy()
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        for node in model.graph.node:
            if node.op_type in IN_STANDARD_DOMAIN:  # where ONNX Runtime looks for it
                node.domain = ""
        if any(node.operator == f"{DOMAIN}.{QUANTIZED_LSTM}" for node in self.nodes):
            add_function(model)  # the preparation took it out
        return model

    def _settings(self) -> set[str]:
        """Constants that are numbers of an operator."""
        return {
            name
            for node in self.nodes
            for index, name in enumerate(node.inputs)
            if node.operator in OPERATORS and index in OPERATORS[node.operator].settings
        }

    def _last_uses(self) -> list[set[str]]:
        """For each node, the tensors that nothing after it reads."""
        seen: set[str] = set()
        uses: list[set[str]] = []
        for node in reversed(self.nodes):
            read = {*node.inputs, *node.outputs} - {"", *self._names, *self.inputs}
            uses.append(read - seen)
            seen |= read
        return uses[::-1]


def _without_zeros(weight: torch.nn.Parameter) -> Callable[[Tensor], Tensor]:
    """Makes the gradient zero where the weight is."""
    return lambda gradient: gradient * (weight.detach() != 0)


#: Types that torch holds, and computes nothing of.
_NUMPY_ONLY = (torch.uint16, torch.uint32, torch.uint64)


def compute_node(node: Node, arguments: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """The results of ``node``; None stands for an input that is left out."""
    operator = OPERATORS.get(node.operator)
    if operator is None or any(getattr(each, "dtype", None) in _NUMPY_ONLY for each in arguments):
        return run_reference(node, arguments)
    results = operator.function(node, *arguments)
    return results if isinstance(results, tuple) else (results,)


def _read(node: onnx.NodeProto, opset: int, types: Mapping[str, int]) -> Node:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if any(attribute.HasField("g") for attribute in node.attribute):
        raise ModelError(
            f"node {node.name!r} ({node.op_type}) takes a course that depends on data, which can't "
            "be trained"
        )
    attributes = {**_defaults(node.op_type, domain, opset), **attributes_of(node)}
    if node.op_type == "QuantizeLinear" and len(node.input) > 2 and node.input[2] in types:
        attributes["output_dtype"] = types[node.input[2]]
    return Node(
        name=node.name,
        operator=f"{domain}.{node.op_type}" if domain else node.op_type,
        opset=opset,
        attributes=attributes,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        proto=node,
    )


def _value(tensor: onnx.TensorProto) -> Tensor:
    """A constant; integers of 4 bits or fewer in 8."""
    array = np.array(numpy_helper.to_array(tensor))
    if tensor.data_type == onnx.TensorProto.BFLOAT16:
        return torch.from_numpy(array.astype("float32")).bfloat16()
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    if name in ("INT4", "INT2"):
        array = array.astype("int8")
    elif name in ("UINT4", "UINT2"):
        array = array.astype("uint8")
    return torch.from_numpy(array)


@functools.cache
def _defaults(operator: str, domain: str, opset: int) -> dict[str, Any]:
    """The attributes that the standard gives an operator where a node leaves them out."""
    try:
        schema = onnx.defs.get_schema(operator, opset, domain)
    except onnx.defs.SchemaError:  # one of another domain
        return {}
    values = [attribute.default_value for attribute in schema.attributes.values()]
    known = attributes_of(onnx.NodeProto(attribute=[value for value in values if value.type]))
    known.pop("activations", None)  # the standard's are those of two directions
    return known
