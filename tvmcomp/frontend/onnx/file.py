"""Read an ONNX file: its bytes, its external data, its digest; refuse what is damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import onnx.checker
import onnx.external_data_helper
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.functions import check_functions
from tvmcomp.frontend.onnx.group_norm import rewrite_group_norms
from tvmcomp.frontend.onnx.microsoft import DOMAIN, IN_STANDARD_DOMAIN, import_microsoft
from tvmcomp.frontend.onnx.support import nodes_of
from tvmcomp.frontend.onnx.tensors import (
    check_tensor,
    check_text,
    make_dense,
    read_external,
    tensors_of,
)

#: Older operator sets mean other things by the same names (broadcasting, BatchNormalization).
OLDEST_OPSET = 7
_DAMAGED = "The file is damaged, incomplete, or its exporter has a defect; export it again."
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
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"can't be read: {reason}", where=where) from error
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError(
            "is not an ONNX model, or is truncated",
            where=where,
            hint="Download or export the file again.",
        ) from error
    check_model(model, where, path.resolve().parent)
    return model, hashlib.sha256(data).hexdigest()


def check_model(model: onnx.ModelProto, where: str, folder: Path | None) -> None:
    """Check ``model`` and load its external data into it.

    Args:
        model: it is changed in place.
        where: what to call it in an error.
        folder: where its external data lies; None for a model that came without a file.

    Raises:
        ModelError: as :func:`read_onnx` says.
    """
    try:
        check_text(model)
    except UnicodeDecodeError as error:
        raise ModelError(
            f"holds a name or text that is not UTF-8: {error.object[:40]!r}",
            where=where,
            hint=_DAMAGED,
        ) from error
    if not model.HasField("graph") or not model.graph.output:
        raise ModelError(
            "holds no ONNX graph: the file is empty, truncated, or of another format",
            where=where,
            hint="Download or export the file again.",
        )
    _check_opset(model, where)
    check_functions(model, where=where)
    rewrite_group_norms(model.graph, opset_version(model))
    import_microsoft(model)
    _set_unknown_operators_apart(model)
    _load_external_data(model, where, folder)
    for tensor in tensors_of(model):
        try:
            check_tensor(tensor)
        except ValueError as error:
            raise ModelError(
                f"tensor {tensor.name!r} {error}", where=where, hint=_DAMAGED
            ) from error
    try:
        _check_standard(model, None if folder is None else where)
    # It is onnx's own judgement of the file: whatever it raises speaks of the file.
    except Exception as error:
        raise ModelError(
            f"is not a valid ONNX model: {' '.join(str(error).split())[:500]}",
            where=where,
            hint=_DAMAGED,
        ) from error
    try:
        make_dense(model.graph)
    except ValueError as error:
        raise ModelError(str(error), where=where) from error


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
    operator that can't be compiled. Those of ONNX Runtime go where its others are.
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
        node.domain = DOMAIN if node.op_type in IN_STANDARD_DOMAIN else UNKNOWN_DOMAIN
    import_microsoft(model)
    if any(node.domain == UNKNOWN_DOMAIN for node in unknown):
        model.opset_import.add(domain=UNKNOWN_DOMAIN, version=1)


def _is_standard(operator: str, opset: int) -> bool:
    try:
        onnx.defs.get_schema(operator, opset)
    except onnx.defs.SchemaError:
        return False
    return True


def _check_standard(model: onnx.ModelProto, file: str | None) -> None:
    """Run onnx's checker, but let inputs and outputs lack a shape: they get theirs later.

    It serializes a model that it is given in memory, which protobuf limits: a larger one it reads
    from its ``file``; one that came without a file, from a converter of ours, goes unchecked.
    """
    types = [value.type for value in (*model.graph.input, *model.graph.output)]
    shapeless = [
        type_.tensor_type
        for type_ in types
        if type_.HasField("tensor_type") and not type_.tensor_type.HasField("shape")
    ]
    for tensor_type in shapeless:
        tensor_type.shape.SetInParent()
    try:
        in_memory = model.ByteSize() < onnx.checker.MAXIMUM_PROTOBUF
        if in_memory or file is not None:
            onnx.checker.check_model(model if in_memory else file)
    finally:
        for tensor_type in shapeless:
            tensor_type.ClearField("shape")


def _load_external_data(model: onnx.ModelProto, where: str, folder: Path | None) -> None:
    for tensor in tensors_of(model):
        if not onnx.external_data_helper.uses_external_data(tensor):
            continue
        if folder is None:
            raise ModelError(
                f"the external data of tensor {tensor.name!r} is not loaded",
                where=where,
                hint="Give the model's path, or load it with onnx.load.",
            )
        try:
            tensor.raw_data = read_external(tensor, folder)
        except ValueError as error:
            raise ModelError(
                f"the external data of tensor {tensor.name!r} {error}",
                where=where,
                hint="Copy the data files into the folder of the model, or export it again.",
            ) from error
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
