"""The ONNX frontend: file -> checked, bound, simplified graph -> Relax."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import onnx.checker

from tvmcomp.errors import ModelError
from tvmcomp.frontend.binding import Binding
from tvmcomp.frontend.onnx.file import check_model, opset_version
from tvmcomp.frontend.onnx.graph import import_graph
from tvmcomp.frontend.onnx.in_float32 import HALF, compute_in_float32, stored_type
from tvmcomp.frontend.onnx.notes import states_of
from tvmcomp.frontend.onnx.prepare import prepare
from tvmcomp.model import Model, Signature, TensorSpec
from tvmcomp.tvm_import import tvm

#: What a model that came from no file is called.
_IN_MEMORY = "the model in memory"


def load_checked(
    model: onnx.ModelProto,
    path: Path,
    digest: str,
    binding: Binding,
    *,
    for_quantization: bool = False,
) -> Model:
    """Import an ONNX model (operator set 7 to the newest of the onnx package) of a file.

    Args:
        model: what :func:`tvmcomp.frontend.source.read_model` made of the file; it is changed.
        path: the file, of whatever format.
        digest: of the file.
        binding: sizes and values of inputs.
        for_quantization: compute float64 in float32 as well, which is what can be quantized.

    Raises:
        ModelError: as :func:`tvmcomp.frontend.load_model` says.
    """
    return _load(model, str(path), str(path.resolve()), digest, binding, for_quantization)


def load_proto(
    model: onnx.ModelProto,
    binding: Binding,
    *,
    for_quantization: bool = False,
) -> Model:
    """Import an ONNX model in memory; its digest is that of its bytes.

    Raises:
        ModelError: as :func:`tvmcomp.frontend.load_model` says.
    """
    if model.ByteSize() > onnx.checker.MAXIMUM_PROTOBUF:
        raise ModelError(
            "is larger than 2 GiB", where=_IN_MEMORY, hint="Give the path of its file instead."
        )
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    own = onnx.ModelProto()
    own.CopyFrom(model)
    check_model(own, _IN_MEMORY, None)
    return _load(own, _IN_MEMORY, _IN_MEMORY, digest, binding, for_quantization)


def _load(
    model: onnx.ModelProto,
    where: str,
    source: str,
    digest: str,
    binding: Binding,
    for_quantization: bool,
) -> Model:
    prepared = prepare(model, binding, where=where)
    model = prepared.model
    stored = stored_type(model.graph)
    types = (*HALF, onnx.TensorProto.DOUBLE) if for_quantization else HALF
    compute_in_float32(model.graph, types, keep_tables=not for_quantization)
    mod = import_graph(model, opset_version(model), prepared.limits)
    signature = _signature(mod["main"], prepared.inputs, prepared.outputs)
    states = states_of(prepared.notes, signature, where=where)
    return Model(mod, signature, source, digest, stored, states)


def _signature(main: tvm.relax.Function, inputs: list[str], outputs: list[str]) -> Signature:
    returned = main.ret_ty
    fields = returned.fields if isinstance(returned, tvm.relax.TupleType) else [returned]
    return Signature(
        inputs=tuple(_spec(name, var.ty) for name, var in zip(inputs, main.params, strict=True)),
        outputs=tuple(_spec(name, ty) for name, ty in zip(outputs, fields, strict=True)),
    )


def _spec(name: str, ty: tvm.relax.TensorType) -> TensorSpec:
    return TensorSpec(name=name, shape=tuple(int(dim) for dim in ty.shape), dtype=str(ty.dtype))
