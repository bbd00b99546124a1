"""Read an ONNX file: its bytes, its external data, its digest; refuse what is damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.checker
import onnx.external_data_helper
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.functions import check_functions
from tvmcomp.frontend.onnx.support import nodes_of

#: Older operator sets mean other things by the same names (broadcasting, BatchNormalization).
OLDEST_OPSET = 7
#: Of operators that are in no operator set; it is what a person reads before their names.
UNKNOWN_DOMAIN = "unknown"


def read_onnx(path: Path) -> tuple[onnx.ModelProto, str]:
    """Read and check the model in ``path``, with its external data loaded into it.

    Returns:
        The model, and the SHA-256 of the file in hexadecimal (external data is not in it).

    Raises:
        ModelError: the file is missing, not ONNX, truncated, breaks the standard, is older than
            operator set 7 or newer than the onnx package, names data outside its folder, or has
            functions that exceed a limit.
    """
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"can't be read: {error.strerror or error}", where=where) from error
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError(
            "is not an ONNX model, or is truncated",
            where=where,
            hint="Download or export the file again.",
        ) from error
    if not model.HasField("graph") or not model.graph.output:
        raise ModelError(
            "holds no ONNX graph: the file is empty, truncated, or of another format",
            where=where,
            hint="Download or export the file again.",
        )
    _check_opset(model, where)
    check_functions(model, where=where)
    _set_unknown_operators_apart(model)
    try:
        _load_external_data(model, path)
        _check_standard(model, where)
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise ModelError(
            f"is not a valid ONNX model: {' '.join(str(error).split())[:500]}",
            where=where,
            hint="The file is damaged, incomplete, or its exporter has a defect; export it again.",
        ) from error
    return model, hashlib.sha256(data).hexdigest()


def opset_version(model: onnx.ModelProto) -> int:
    """Return the version of the standard's operator set that ``model`` is written in."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    # A model of custom operators alone may name no version of the standard's.
    return max(versions, default=onnx.defs.onnx_opset_version())


def _check_opset(model: onnx.ModelProto, where: str) -> None:
    opset, newest = opset_version(model), onnx.defs.onnx_opset_version()
    if OLDEST_OPSET <= opset <= newest:
        return
    if opset < OLDEST_OPSET:
        hint = f"Convert it: onnx.version_converter.convert_version(model, {OLDEST_OPSET + 6})."
    else:
        hint = "Upgrade the onnx package, or export the model with an older operator set."
    raise ModelError(
        f"uses operator set {opset}; {OLDEST_OPSET} to {newest} can be read", where=where, hint=hint
    )


def _set_unknown_operators_apart(model: onnx.ModelProto) -> None:
    """Move operators that the model's operator set lacks to a domain of their own.

    onnx's checker stops at the first of them; so they are reported together with every other
    operator that can't be compiled.
    """
    opset = opset_version(model)
    functions = {(function.domain, function.name) for function in model.functions}
    unknown = [
        node
        for node in nodes_of(model.graph)
        if node.domain in ("", "ai.onnx")
        and (node.domain, node.op_type) not in functions
        and not _is_standard(node.op_type, opset)
    ]
    for node in unknown:
        node.domain = UNKNOWN_DOMAIN
    if unknown:
        model.opset_import.add(domain=UNKNOWN_DOMAIN, version=1)


def _is_standard(operator: str, opset: int) -> bool:
    try:
        onnx.defs.get_schema(operator, opset)
    except onnx.defs.SchemaError:
        return False
    return True


def _check_standard(model: onnx.ModelProto, where: str) -> None:
    """Run onnx's checker, but let inputs and outputs lack a shape: they get theirs later."""
    types = [value.type for value in (*model.graph.input, *model.graph.output)]
    shapeless = [
        type_.tensor_type
        for type_ in types
        if type_.HasField("tensor_type") and not type_.tensor_type.HasField("shape")
    ]
    for tensor_type in shapeless:
        tensor_type.shape.SetInParent()
    try:
        # The checker serializes a model that it is given in memory, which protobuf limits.
        in_memory = model.ByteSize() < onnx.checker.MAXIMUM_PROTOBUF
        onnx.checker.check_model(model if in_memory else where)
    finally:
        for tensor_type in shapeless:
            tensor_type.ClearField("shape")


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    folder = path.resolve().parent
    for tensor in _tensors(model):
        if not onnx.external_data_helper.uses_external_data(tensor):
            continue
        location = onnx.external_data_helper.ExternalDataInfo(tensor).location
        # resolve() follows symbolic links, so a link out of the folder is refused as well.
        if not (folder / location).resolve().is_relative_to(folder):
            raise ModelError(
                f"tensor {tensor.name!r} names data outside the model's folder: {location}",
                where=str(path),
                hint="Put the data file beside the model and save its location as a plain name.",
            )
        if not (folder / location).is_file():
            raise ModelError(
                f"the external data file {location!r} of tensor {tensor.name!r} is missing",
                where=str(path),
                hint="Copy it into the folder of the model.",
            )
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of the model: initializers and attributes, of subgraphs as well."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: list[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _graph_tensors(subgraph)
