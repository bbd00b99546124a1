"""Read a TensorFlow Lite file, whose offsets and sizes nobody has checked.

The format (a FlatBuffer) is a web of offsets, which a damaged or hostile file points anywhere:
outside of it, which is an error of Python's, or many to one place, so that a small file unfolds to
a large one. So all that is copied out of the file is counted, and may be a few times its size.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import tflite
from flatbuffers.table import Table

from tvmcomp.errors import ModelError
from tvmcomp.frontend.tflite.counted import AGAIN, HIGHEST_RANK, Counted
from tvmcomp.frontend.tflite.network import (
    TYPES,
    Network,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
)
from tvmcomp.frontend.tflite.sparse import Dimension, densify

#: A dense tensor may have so many times the elements that a sparse one stores,
_SPARSEST = 1 << 10
#: and its bytes count as a share of what is read.
_SPARSE_SHARE = 4

_KINDS = {number: name for name, number in vars(tflite.BuiltinOperator).items() if name.isupper()}
_OPTIONS = {number: name for name, number in vars(tflite.BuiltinOptions).items() if name[0] != "_"}
_OPTIONS_2 = {
    number: name for name, number in vars(tflite.BuiltinOptions2).items() if name[0] != "_"
}
#: A table without fields: each attribute has its default.
_NO_OPTIONS = Table(b"\x04\0\x04\0\x04\0\0\0", 4)


def read_network(path: Path) -> Network:
    """Read and check the file in ``path``.

    Raises:
        ModelError: it can't be read, is damaged, or lies about its sizes.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"can't be read: {error.strerror or error}", where=str(path)) from error
    try:
        return _Reader(data, str(path)).network()
    except ModelError:
        raise
    # Offsets that lead nowhere: whatever the reader raises speaks of the file.
    except Exception as error:
        raise ModelError(
            f"is no TensorFlow Lite model that can be read: {str(error)[:200] or repr(error)}",
            where=str(path),
            hint=AGAIN,
        ) from error


class _Reader(Counted):
    def network(self) -> Network:
        model = tflite.Model.GetRootAs(self.data, 0)
        if model.Version() != 3:
            raise self.error(f"is of version {model.Version()} of the format; 3 can be read")
        if not model.SubgraphsLength():
            raise self.error("holds no network")
        codes = [self.operator_code(each) for each in self.tables(model, "OperatorCodes")]
        buffers = list(self.tables(model, "Buffers"))
        subgraphs = tuple(
            self.subgraph(each, codes, buffers) for each in self.tables(model, "Subgraphs")
        )
        signatures = {}
        for each in self.tables(model, "SignatureDefs"):
            index = self.index(each.SubgraphIndex(), len(subgraphs), "a signature's subgraph")
            count = len(subgraphs[index].tensors)
            inputs, outputs = (
                {
                    self.text(entry.Name()): self.index(entry.TensorIndex(), count, "a tensor")
                    for entry in self.tables(each, field)
                }
                for field in ("Inputs", "Outputs")
            )
            signatures[self.text(each.SignatureKey())] = (index, inputs, outputs)
        return Network(subgraphs, signatures)

    def operator_code(self, code: Any) -> tuple[str, bool]:
        """The operator's name, and whether it is a custom one."""
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == tflite.BuiltinOperator.CUSTOM:
            return self.text(code.CustomCode()) or "CUSTOM", True
        return _KINDS.get(number, f"BUILTIN_{number}"), False

    def subgraph(self, graph: Any, codes: list[tuple[str, bool]], buffers: list[Any]) -> Subgraph:
        tensors = tuple(self.tensor(each, buffers) for each in self.tables(graph, "Tensors"))
        count = len(tensors)
        operators = tuple(
            self.operator(each, codes, count) for each in self.tables(graph, "Operators")
        )
        inputs = self.indices(graph, "Inputs", count)
        outputs = self.indices(graph, "Outputs", count)
        if -1 in inputs or -1 in outputs:
            raise self.error("names no tensor for an input or output")
        self.check_order(tensors, operators, inputs, outputs)
        return Subgraph(self.text(graph.Name()), tensors, operators, inputs, outputs)

    def tensor(self, tensor: Any, buffers: list[Any]) -> Tensor:
        name = self.text(tensor.Name())
        shape = tuple(map(int, self.vector(tensor, "Shape", HIGHEST_RANK)))
        signature = tuple(map(int, self.vector(tensor, "ShapeSignature", HIGHEST_RANK)))
        if any(size < 0 for size in shape):
            signature, shape = signature or shape, tuple(max(size, 1) for size in shape)
        if signature and len(signature) != len(shape):
            raise self.error(f"tensor {name!r} has two ranks: {shape} and {signature}")
        dtype = TYPES.get(tensor.Type())
        array = None
        index = self.index(tensor.Buffer(), max(len(buffers), 1), f"the buffer of tensor {name!r}")
        # Buffer 0 is the empty one, by agreement.
        content = self.content(buffers[index]) if buffers else b""
        if len(content) and dtype is not None and not tensor.IsVariable():
            array = self.constant(tensor, name, shape, dtype, content)
            signature = ()
        return Tensor(
            name=name,
            # A tensor that no operator made with a shape has none, unless it is a scalar.
            shape=signature or shape if shape or tensor.HasRank() or array is not None else None,
            default_shape=shape,
            dtype=dtype,
            array=array,
            quantization=self.quantization(tensor, name, shape),
            variable=bool(tensor.IsVariable()),
        )

    def content(self, buffer: Any) -> Any:
        """The bytes of a buffer: in its table, or, in files above 2 GB, after all tables."""
        offset, size = buffer.Offset(), buffer.Size()
        if offset > 1:
            if offset + size > len(self.data):
                raise self.error(f"ends before the {size} bytes of a constant")
            return memoryview(self.data)[offset : offset + size]
        data = buffer.DataAsNumpy()
        return data.data if isinstance(data, np.ndarray) else b""

    def constant(
        self, tensor: Any, name: str, shape: tuple[int, ...], dtype: Any, content: Any
    ) -> np.ndarray:
        sparsity = tensor.Sparsity()
        elements = math.prod(shape)
        if sparsity is not None:
            self.take(elements * dtype.itemsize // _SPARSE_SHARE)
            values = np.frombuffer(content, dtype)
            if elements > values.size * _SPARSEST:
                raise self.error(f"sparse tensor {name!r} has {elements:,} elements; too many")
            self.take(values.nbytes)
            return self.sparse(sparsity, values, shape)
        if dtype.name == "int4":
            packed = np.frombuffer(content, np.uint8)
            wanted, nibbles = (elements + 1) // 2, np.empty(packed.size * 2, np.uint8)
            nibbles[0::2], nibbles[1::2] = packed & 15, packed >> 4
            values = ((nibbles[:elements].astype(np.int8) ^ 8) - 8).astype(dtype)
        else:
            wanted, values = elements * dtype.itemsize, np.frombuffer(content, np.uint8)
        if len(content) != wanted:
            raise self.error(
                f"tensor {name!r} of {dtype}{list(shape)} takes {wanted:,} bytes; "
                f"{len(content):,} are stored"
            )
        self.take(len(content))
        return (values if dtype.name == "int4" else values.view(dtype)).reshape(shape)

    def sparse(self, sparsity: Any, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        def integers(table: Any, kind: int) -> np.ndarray:
            names = {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"}
            if table is None or kind not in names:
                raise self.error("has a sparse tensor without its indices")
            vector = getattr(tflite, names[kind])()
            vector.Init(table.Bytes, table.Pos)
            return np.asarray(self.vector(vector, "Values")).astype(np.int64)

        dimensions = []
        for each in self.tables(sparsity, "DimMetadata"):
            if each.Format() == tflite.DimensionType.DENSE:
                dimensions.append(Dimension(each.DenseSize()))
            else:
                segments = integers(each.ArraySegments(), each.ArraySegmentsType())
                indices = integers(each.ArrayIndices(), each.ArrayIndicesType())
                dimensions.append(Dimension(None, segments, indices))
        order = [int(axis) for axis in self.vector(sparsity, "TraversalOrder", 2 * HIGHEST_RANK)]
        blocks = [int(axis) for axis in self.vector(sparsity, "BlockMap", HIGHEST_RANK)]
        return densify(values, shape, dimensions, order, blocks)

    def quantization(self, tensor: Any, name: str, shape: tuple[int, ...]) -> Quantization | None:
        given = tensor.Quantization()
        if given is None:
            return None
        scale = np.asarray(self.vector(given, "Scale"), np.float32)
        if not scale.size:
            return None
        zero = np.asarray(self.vector(given, "ZeroPoint"), np.int64)
        zero = np.broadcast_to(zero, scale.shape) if zero.size else np.zeros(scale.shape, np.int64)
        axis = int(given.QuantizedDimension())
        if scale.size > 1 and (not 0 <= axis < len(shape) or shape[axis] != scale.size):
            raise self.error(
                f"tensor {name!r} of {list(shape)} has {scale.size} scales along axis {axis}"
            )
        if not np.isfinite(scale).all() or (scale < 0).any():
            raise self.error(f"tensor {name!r} has a scale that is no positive number")
        return Quantization(scale, zero, axis if scale.size > 1 else 0)

    def operator(self, operator: Any, codes: list[tuple[str, bool]], tensors: int) -> Operator:
        kind, custom = codes[self.index(operator.OpcodeIndex(), len(codes), "an operator's code")]
        given = b""
        if custom and operator.CustomOptionsLength():
            given = bytes(np.asarray(self.vector(operator, "CustomOptions"), np.uint8))
        return Operator(
            kind=kind,
            custom=custom,
            inputs=self.indices(operator, "Inputs", tensors),
            outputs=self.indices(operator, "Outputs", tensors),
            intermediates=self.indices(operator, "Intermediates", tensors),
            options=_options(operator),
            custom_options=given,
        )

    def check_order(
        self,
        tensors: tuple[Tensor, ...],
        operators: tuple[Operator, ...],
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
    ) -> None:
        """Each tensor is made once, before it is read."""
        there = {i for i, each in enumerate(tensors) if each.array is not None or each.variable}
        there.update(inputs)
        for operator in operators:
            for index in operator.inputs:
                # An empty tensor without a buffer is a constant of no elements.
                if index >= 0 and index not in there and 0 not in tensors[index].default_shape:
                    raise self.error(
                        f"{operator.kind} reads tensor {tensors[index].name!r} before it is made"
                    )
            for index in operator.outputs:
                # A layer's state may be set before it is read.
                if index < 0 or (index in there and not tensors[index].variable):
                    raise self.error(f"{operator.kind} makes a tensor that is there already")
            there.update(operator.outputs)
        if missing := [tensors[index].name for index in outputs if index not in there]:
            raise self.error(f"makes no output {missing[0]!r}")


def _options(operator: Any) -> Any:
    """The reader of an operator's attributes, of the class that its kind of options has."""
    for number, names, table in (
        (operator.BuiltinOptionsType(), _OPTIONS, operator.BuiltinOptions()),
        (operator.BuiltinOptions2Type(), _OPTIONS_2, operator.BuiltinOptions2()),
    ):
        if number and table is not None and hasattr(tflite, names.get(number, "")):
            options = getattr(tflite, names[number])()
            options.Init(table.Bytes, table.Pos)
            return options
    return None


def options_of(operator: Operator, name: str) -> Any:
    """The attributes of ``operator`` by the ``tflite`` package's class ``name``; defaults where the
    file has none.

    Raises:
        ValueError: it has those of another operator.
    """
    if operator.options is None:
        empty = getattr(tflite, name)()
        empty.Init(_NO_OPTIONS.Bytes, _NO_OPTIONS.Pos)
        return empty
    if type(operator.options).__name__ != name:
        raise ValueError(f"it has the attributes {type(operator.options).__name__}, not {name}")
    return operator.options
