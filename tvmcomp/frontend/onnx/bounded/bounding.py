"""The graph that is written: its nodes, what is known of its tensors, and masks of what is real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tvmcomp.frontend.onnx.bounded.values import Count, Length, Value
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN

#: A rule writes what takes a node's place, and returns its outputs; None: the node as it is.
Rule: TypeAlias = "Callable[[Bounding, onnx.NodeProto, list[Value]], list[Value] | None]"

_INT64, _BOOL = onnx.TensorProto.INT64, onnx.TensorProto.BOOL
#: Constants of more elements say nothing of shapes.
_SMALL = 1024
#: Our operator: the places of a mask's true elements in order, then zeros; and their number.
PLACES = "Places"


class Bounding:
    """A graph in the making.

    Attributes:
        values: what each tensor of the graph that is read has become.
        nodes, initializers, infos: what was written.
        arrays: the values of constants.
    """

    def __init__(self, model: onnx.ModelProto, infos: dict[str, Value], opset: int) -> None:
        self.values: dict[str, Value] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.infos: list[onnx.ValueInfoProto] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.opset = opset
        self._model = model
        self._inferred = infos
        self._prefix, self._main = "", ""
        self._number = 0
        self._kept: dict[Any, Any] = {}

    def begin(self, node: onnx.NodeProto) -> None:
        """Write for ``node`` from now on."""
        self._prefix = self._main = node.name

    def constant(self, array: Any) -> Value:
        """A constant."""
        array = np.asarray(array, order="C")
        key = (array.tobytes(), str(array.dtype), array.shape) if array.size < _SMALL else None
        if key in self._kept:
            kept: Value = self._kept[key]
            return kept
        name = self._unique("constant")
        value = self.given(numpy_helper.from_array(array, name))
        self.initializers.append(numpy_helper.from_array(array, name))
        if key is not None:
            self._kept[key] = value
        return value

    def given(self, tensor: onnx.TensorProto) -> Value:
        """What is known of a constant that the graph has."""
        shape, elements = tuple(tensor.dims), None
        if np.prod(shape, dtype=int) <= _SMALL:
            array = numpy_helper.to_array(tensor)
            self.arrays[tensor.name] = array
            if array.dtype.kind in "iub" and array.ndim <= 1:
                elements = tuple(int(each) for each in array.reshape(-1))
        return Value(tensor.name, tensor.data_type, shape, None, elements)

    def array(self, value: Value) -> np.ndarray | None:
        """The value of a small constant; None of any other."""
        return self.arrays.get(value.name) if value.name else None

    def node(self, operator: str, *inputs: Value, domain: str = "", **attributes: Any) -> Value:
        """Write a node of one output that has no name in the graph that is read."""
        return self.nodes_of(operator, inputs, 1, domain, **attributes)[0]

    def nodes_of(
        self,
        operator: str,
        inputs: Sequence[Value],
        count: int,
        domain: str = "",
        **attributes: Any,
    ) -> list[Value]:
        """Write a node of ``count`` outputs, or find the one that is the same."""
        read = tuple(value.name for value in inputs)
        key = (operator, read, domain, repr(sorted(attributes.items())))
        if key not in self._kept:
            names = [self._unique(operator) for _ in range(count)]
            made = helper.make_node(
                operator, read, names, names[0], domain=domain or None, **attributes
            )
            self._kept[key] = self.write(made, inputs)
        return list(self._kept[key])

    def same(self, node: onnx.NodeProto, inputs: Sequence[Value]) -> list[Value]:
        """Write ``node`` with other inputs, and its own name and outputs."""
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.input[:] = [value.name for value in inputs]
        if not self._main:
            made.name = self._unique(node.op_type)
        self._main = ""
        return self.write(made, inputs)

    def write(self, node: onnx.NodeProto, inputs: Sequence[Value]) -> list[Value]:
        """Add a node, and return its outputs with the shapes that follow from its inputs'."""
        self.nodes.append(node)
        types = self._infer(node, inputs)
        return [self._noted(name, types.get(name)) for name in node.output]

    def _noted(self, name: str, found: onnx.TypeProto | None) -> Value:
        if not name:
            return Value("")
        value = value_of_type(name, found) if found is not None else Value(name)
        if value.shape is None and name in self._inferred:
            value = self._inferred[name]
        self.note(value)
        return value

    def note(self, value: Value) -> None:
        """Write down what is known of a tensor's type."""
        if value.shape is not None and value.dtype:
            info = helper.make_tensor_value_info(value.name, value.dtype, value.shape)
            self.infos.append(info)

    def _infer(self, node: onnx.NodeProto, inputs: Sequence[Value]) -> dict[str, onnx.TypeProto]:
        if node.domain not in ("", "ai.onnx"):
            return {}
        types, data = {}, {}
        for value in inputs:
            if value.name and value.dtype:
                types[value.name] = helper.make_tensor_type_proto(value.dtype, value.shape)
            if value.name in self.arrays:
                data[value.name] = numpy_helper.from_array(self.arrays[value.name], value.name)
            elif value.known is not None:
                dtype = helper.tensor_dtype_to_np_dtype(value.dtype)
                array = np.array(value.known, dtype).reshape(value.dims)
                data[value.name] = numpy_helper.from_array(array, value.name)
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opset, "")
            found = onnx.shape_inference.infer_node_outputs(
                schema, node, types, data, None, list(self._model.opset_import), 10
            )
        # KeyError: a type is missing, as it is of what another domain's operator gives.
        except (KeyError, RuntimeError, onnx.defs.SchemaError, onnx.shape_inference.InferenceError):
            return {}
        return dict(found)

    def with_length(self, value: Value, axis: int, count: Count) -> Value:
        """``value``, of which the first ``count`` places along ``axis`` are real."""
        return replace(value, length=Length(axis, count))

    def count(self, value: Value, most: int) -> Count:
        """The number that a tensor of one int64 holds."""
        return Count(value.name, 0, most)

    def scalar(self, count: Count | int) -> Value:
        """A number of run time as an int64 tensor ``[1]``."""
        if isinstance(count, int):
            return self.ints(count)
        flat = self.node("Reshape", Value(count.name, _INT64), self.ints(-1))
        taken = replace(self.node("Gather", flat, self.ints(count.place)), dtype=_INT64, shape=(1,))
        self.note(taken)
        return taken

    def ints(self, *numbers: int) -> Value:
        """A constant int64 vector."""
        return self.constant(np.array(numbers, "int64"))

    def mask(self, size: int, count: Count | int) -> Value:
        """Bool ``[size]``: true at the first ``count`` places."""
        return self.node("Less", self.constant(np.arange(size)), self.scalar(count))

    def filled(self, value: Value, fill: float) -> Value:
        """``value`` with ``fill`` (cut to its type's range) at places that are not real."""
        if value.length is None:
            return value
        axis, shape = value.length.axis, [1] * len(value.dims)
        shape[axis] = value.dims[axis]
        mask = self.node("Reshape", self.mask(shape[axis], value.length.count), self.ints(*shape))
        dtype = helper.tensor_dtype_to_np_dtype(value.dtype)
        if dtype.kind in "iu":
            fill = int(min(max(fill, np.iinfo(dtype).min), np.iinfo(dtype).max))
        return self.node("Where", mask, value, self.constant(np.array(fill, dtype)))

    def places(self, mask: Value) -> tuple[Value, Count]:
        """The places ``[N]`` of the true elements of ``mask [N]``, then zeros; and their number."""
        size = mask.dims[0]
        places, count = self.nodes_of(PLACES, [mask], 2, DOMAIN)
        places = replace(places, dtype=_INT64, shape=(size,))
        count = replace(count, dtype=_INT64, shape=(1,))
        self.note(places)
        self.note(count)
        return places, self.count(count, size)

    def _unique(self, what: str) -> str:
        self._number += 1
        return f"{self._prefix}/bounded_{what}_{self._number}"


def value_of_type(name: str, found: onnx.TypeProto) -> Value:
    """What a type says of the tensor ``name``; its shape where all of it is known."""
    tensor = found.tensor_type
    if not tensor.HasField("shape"):
        return Value(name, tensor.elem_type)
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if None in sizes:
        return Value(name, tensor.elem_type)
    return Value(name, tensor.elem_type, tuple(size for size in sizes if size is not None))
