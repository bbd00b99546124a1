"""The tensors of an ONNX file: all that it holds, their external data, what makes one readable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from tvmcomp.frontend.onnx.limits import MOST_ELEMENTS
from tvmcomp.frontend.onnx.support import subgraphs_of

_COMPLEX = (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128)
#: Texts that say nothing of what a network computes.
_DOCUMENTATION = {"doc_string", "producer_name", "producer_version"}
#: Bits of an element, where they are no whole number of bytes.
_BITS = {
    onnx.TensorProto.INT4: 4, onnx.TensorProto.UINT4: 4, onnx.TensorProto.FLOAT4E2M1: 4,
    **{getattr(onnx.TensorProto, name): 2 for name in ("INT2", "UINT2")
       if hasattr(onnx.TensorProto, name)},
}  # fmt: skip


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of the model: initializers and attributes, of subgraphs as well."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            yield from attribute.tensors
        for subgraph in subgraphs_of(node):
            yield from _graph_tensors(subgraph)


def check_text(message: Any) -> None:
    """Read every text in a protocol buffer, and drop what is undecodable and only documentation.

    Raises:
        UnicodeDecodeError: one is not UTF-8.
    """
    for descriptor, value in message.ListFields():
        repeated = not isinstance(value, str | bytes) and hasattr(value, "__len__")
        parts = value if repeated else [value]
        if descriptor.message_type is not None:
            for part in parts:
                check_text(part)
        elif descriptor.type == descriptor.TYPE_STRING:
            for part in parts:
                # What can't be decoded is given as bytes, or not at all.
                if isinstance(part, bytes) and descriptor.name in _DOCUMENTATION:
                    message.ClearField(descriptor.name)
                elif isinstance(part, bytes):
                    part.decode()


def check_tensor(tensor: onnx.TensorProto) -> None:
    """Raise ValueError where ``tensor`` is of no known type, or its data of another length."""
    known = onnx.TensorProto.DataType.values()
    kind = tensor.data_type
    if kind not in known or kind == onnx.TensorProto.UNDEFINED:
        raise ValueError(f"is of the type {kind}, which there is not")
    name = onnx.TensorProto.DataType.Name(kind).lower()
    if kind in _COMPLEX:
        raise ValueError(f"is {name}; complex numbers can't be compiled")
    if any(size < 0 for size in tensor.dims):
        raise ValueError(f"has a size below 0 in its shape {list(tensor.dims)}")
    elements = math.prod(tensor.dims)
    if kind == onnx.TensorProto.STRING:
        raise ValueError("holds strings, which can't be compiled")
    if tensor.HasField("raw_data"):
        given, wanted, unit = len(tensor.raw_data), byte_count(tensor), "bytes"
    else:
        field = getattr(tensor, onnx.helper.tensor_dtype_to_field(kind))
        given, unit = len(field), "numbers"
        wanted = -(-elements * _BITS[kind] // 8) if kind in _BITS else elements
    if given != wanted:
        raise ValueError(
            f"is {name}{list(tensor.dims)}, which takes {wanted} {unit}, and holds {given}"
        )


def make_dense(graph: onnx.GraphProto) -> None:
    """Replace the sparse initializers of a checked ``graph`` by dense ones, in place.

    Raises:
        ValueError: one has more elements than a tensor may have.
    """
    for sparse in graph.sparse_initializer:
        values = onnx.numpy_helper.to_array(sparse.values)
        places = onnx.numpy_helper.to_array(sparse.indices)
        if math.prod(sparse.dims) > MOST_ELEMENTS:
            raise ValueError(
                f"tensor {sparse.values.name!r} of shape {list(sparse.dims)} has more than "
                f"{MOST_ELEMENTS} elements"
            )
        dense = np.zeros(tuple(sparse.dims), values.dtype)
        if places.ndim == 2:
            dense[tuple(places.T)] = values
        else:
            dense.reshape(-1)[places] = values
        graph.initializer.append(onnx.numpy_helper.from_array(dense, sparse.values.name))
    del graph.sparse_initializer[:]


def byte_count(tensor: onnx.TensorProto) -> int:
    """How many bytes the data of ``tensor`` takes; elements below a byte are packed."""
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        bits = 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-math.prod(tensor.dims) * bits // 8)


def read_external(tensor: onnx.TensorProto, folder: Path) -> bytes:
    """The data of ``tensor`` in a file of ``folder``.

    Raises:
        ValueError: the file is missing, outside the folder, or does not hold so many bytes there.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if not location or "\0" in location:
        raise ValueError(f"has {location!r} for a location")
    # resolve() follows symbolic links, so a link out of the folder is refused as well.
    try:
        path = (folder / location).resolve()
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # too long, or a link to itself
        raise ValueError(f"is not found: {error}") from error
    if not path.is_relative_to(folder):
        raise ValueError(f"lies outside the model's folder: {location}")
    if not is_file:
        raise ValueError(f"is missing: there is no file {location!r}")
    if tensor.data_type not in onnx.TensorProto.DataType.values() or tensor.data_type in (
        onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING,
    ):  # fmt: skip
        raise ValueError(f"is of the type {tensor.data_type}, which can't lie in a file")
    if any(size < 0 for size in tensor.dims):
        raise ValueError(f"has a size below 0 in its shape {list(tensor.dims)}")
    offset, wanted = _number(entries, "offset", 0), byte_count(tensor)
    length = _number(entries, "length", wanted)
    if length != wanted:
        raise ValueError(f"is said to have {length} bytes; its type and shape take {wanted}")
    held = path.stat().st_size
    if offset + length > held:
        raise ValueError(f"ends after the file {location!r}: {offset} + {length} bytes of {held}")
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        raise ValueError(f"can't be read from {location!r}: {error.strerror}") from error
    if len(data) != length:
        raise ValueError(f"ends after the file {location!r}")
    return data


def _number(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(f"has {text[:40]!r} for its {key}")
    return int(text)
