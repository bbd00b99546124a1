"""Small TensorFlow Lite files, written table by table: no TensorFlow is needed for a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7,
    "complex64": 8, "int8": 9, "resource": 13,
}  # fmt: skip


@dataclass
class Tensor:
    """One tensor; `data` makes it a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    data: np.ndarray | None = None
    scale: Any = None
    zero: Any = 0
    axis: int = 0
    signature: tuple[int, ...] | None = None
    variable: bool = False


@dataclass
class Op:
    """One operator: inputs and outputs by name, its options' class and fields."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    options: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    custom: bytes = b""
    intermediates: list[str] = field(default_factory=list)


@dataclass
class Graph:
    """One subgraph."""

    tensors: list[Tensor]
    ops: list[Op]
    inputs: list[str]
    outputs: list[str]


def constant(name: str, array: Any, **more: Any) -> Tensor:
    """A constant tensor of an array."""
    array = np.asarray(array)
    return Tensor(name, array.shape, array.dtype.name, array, **more)


def model(*graphs: Graph) -> bytes:
    """The file of some subgraphs, of which the first is the network."""
    b = flatbuffers.Builder(1024)
    buffers = [b""]
    kinds = sorted({(op.kind, op.version) for graph in graphs for op in graph.ops})
    built = [_graph(b, graph, kinds, buffers) for graph in graphs]
    codes = []
    for kind, release in kinds:
        number = getattr(tflite.BuiltinOperator, kind, tflite.BuiltinOperator.CUSTOM)
        custom = b.CreateString(kind) if number == tflite.BuiltinOperator.CUSTOM else None
        tflite.OperatorCodeStart(b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(number, 127))
        tflite.OperatorCodeAddBuiltinCode(b, number)
        tflite.OperatorCodeAddVersion(b, release)
        if custom is not None:
            tflite.OperatorCodeAddCustomCode(b, custom)
        codes.append(tflite.OperatorCodeEnd(b))
    stored = []
    for data in buffers:
        vector = b.CreateByteVector(data) if data else None
        tflite.BufferStart(b)
        if vector is not None:
            tflite.BufferAddData(b, vector)
        stored.append(tflite.BufferEnd(b))
    code_vector, graph_vector, buffer_vector = (_tables(b, t) for t in (codes, built, stored))
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddOperatorCodes(b, code_vector)
    tflite.ModelAddSubgraphs(b, graph_vector)
    tflite.ModelAddBuffers(b, buffer_vector)
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    return bytes(b.Output())


def _tables(b: Any, tables: list[int]) -> int:
    b.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        b.PrependUOffsetTRelative(table)
    return b.EndVector()


def _vector(b: Any, values: Any, dtype: str = "int32") -> int:
    return b.CreateNumpyVector(np.atleast_1d(np.asarray(values, dtype)))


def _graph(b: Any, graph: Graph, kinds: list[tuple[str, int]], buffers: list[bytes]) -> int:
    tensors = [_tensor(b, each, buffers) for each in graph.tensors]
    numbers = {each.name: i for i, each in enumerate(graph.tensors)} | {"": -1}
    ops = []
    for op in graph.ops:
        options = _options(b, op) if op.options else None
        custom = b.CreateByteVector(op.custom) if op.custom else None
        ins, outs = (_vector(b, [numbers[n] for n in names]) for names in (op.inputs, op.outputs))
        inner = _vector(b, [numbers[n] for n in op.intermediates]) if op.intermediates else None
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, kinds.index((op.kind, op.version)))
        tflite.OperatorAddInputs(b, ins)
        tflite.OperatorAddOutputs(b, outs)
        if inner is not None:
            tflite.OperatorAddIntermediates(b, inner)
        if custom is not None:
            tflite.OperatorAddCustomOptions(b, custom)
        if options is not None:
            second = "2" if hasattr(tflite.BuiltinOptions2, op.options) else ""
            number = getattr(getattr(tflite, f"BuiltinOptions{second}"), op.options)
            getattr(tflite, f"OperatorAddBuiltinOptions{second}Type")(b, number)
            getattr(tflite, f"OperatorAddBuiltinOptions{second}")(b, options)
        ops.append(tflite.OperatorEnd(b))
    ins, outs = (_vector(b, [numbers[n] for n in names]) for names in (graph.inputs, graph.outputs))
    tensor_vector, op_vector = _tables(b, tensors), _tables(b, ops)
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, tensor_vector)
    tflite.SubGraphAddInputs(b, ins)
    tflite.SubGraphAddOutputs(b, outs)
    tflite.SubGraphAddOperators(b, op_vector)
    return tflite.SubGraphEnd(b)


#: Of fields that are no numbers, by their types.
_WRITERS = {list: _vector, str: lambda b, text: b.CreateString(text),
            bytes: lambda b, data: b.CreateByteVector(data)}  # fmt: skip


def _options(b: Any, op: Op) -> int:
    vectors = {
        name: make(b, value)
        for name, value in op.fields.items()
        if (make := _WRITERS.get(type(value))) is not None
    }
    getattr(tflite, f"{op.options}Start")(b)
    for name, value in op.fields.items():
        getattr(tflite, f"{op.options}Add{name}")(b, vectors.get(name, value))
    return getattr(tflite, f"{op.options}End")(b)


def _tensor(b: Any, tensor: Tensor, buffers: list[bytes]) -> int:
    name, shape = b.CreateString(tensor.name), _vector(b, tensor.shape)
    signature = None if tensor.signature is None else _vector(b, tensor.signature)
    quantization = None
    if tensor.scale is not None:
        scale, zero = _vector(b, tensor.scale, "float32"), _vector(b, tensor.zero, "int64")
        tflite.QuantizationParametersStart(b)
        tflite.QuantizationParametersAddScale(b, scale)
        tflite.QuantizationParametersAddZeroPoint(b, zero)
        tflite.QuantizationParametersAddQuantizedDimension(b, tensor.axis)
        quantization = tflite.QuantizationParametersEnd(b)
    tflite.TensorStart(b)
    tflite.TensorAddName(b, name)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddType(b, TYPES[tensor.dtype])
    tflite.TensorAddHasRank(b, True)
    if tensor.data is not None:
        buffers.append(tensor.data.tobytes())
        tflite.TensorAddBuffer(b, len(buffers) - 1)
    if signature is not None:
        tflite.TensorAddShapeSignature(b, signature)
    if quantization is not None:
        tflite.TensorAddQuantization(b, quantization)
    if tensor.variable:
        tflite.TensorAddIsVariable(b, True)
    return tflite.TensorEnd(b)
