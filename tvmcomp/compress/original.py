"""The network that is to be compressed: as it came, and prepared for the techniques."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
import onnx.shape_inference
from onnx import helper

from tvmcomp import arguments
from tvmcomp.errors import ModelError
from tvmcomp.frontend import ModelSource
from tvmcomp.frontend.binding import Binding
from tvmcomp.frontend.onnx.in_float32 import HALF, compute_in_float32
from tvmcomp.frontend.onnx.notes import StateNote
from tvmcomp.frontend.onnx.prepare import prepare
from tvmcomp.frontend.onnx.support import subgraphs_of
from tvmcomp.model import Signature, TensorSpec

_IN_MEMORY = "the model in memory"


@dataclass(frozen=True)
class Original:
    """A network before anything is done to it.

    Attributes:
        model: as it came, in ONNX.
        prepared: checked, its shapes bound, folded, computed in float32: what techniques work on.
        signature: of ``prepared``.
        states: inputs that keep their value from run to run.
        source: its file, or what else it came from.
        digest: SHA-256 of its content, in hexadecimal.
    """

    model: onnx.ModelProto
    prepared: onnx.ModelProto
    signature: Signature
    states: tuple[StateNote, ...]
    source: str
    digest: str


def read_original(
    source: ModelSource,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dims: Mapping[str, int] | None = None,
    fixed: Mapping[str, Any] | None = None,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    signature: str | None = None,
) -> Original:
    """Read a network of any format; the arguments are those of :func:`tvmcomp.build`.

    Raises:
        ConfigError, ModelError: as :func:`tvmcomp.frontend.load_model`; ModelError: it has a
            branch or a loop, and no technique follows these.
    """
    from tvmcomp.frontend import in_memory
    from tvmcomp.frontend.onnx.file import check_model
    from tvmcomp.frontend.source import read_model

    bound = arguments.shapes(shapes)
    binding = Binding(bound, arguments.dims(dims), arguments.fixed(fixed))
    if isinstance(source, str | bytes | os.PathLike):
        path = arguments.path(source, "the model's path")
        where = str(path)
        model, _ = read_model(path, signature=signature, shapes=bound)
    else:
        where = _IN_MEMORY
        model = onnx.ModelProto()
        model.CopyFrom(in_memory.to_onnx(source, example_inputs, dynamic_shapes, bound))
        check_model(model, where, None)
    own = onnx.ModelProto()
    own.CopyFrom(model)
    prepared = prepare(own, binding, where=where)
    _check_course(prepared.model, where)
    graph = _in_float32(prepared.model)
    return Original(
        model=model,
        prepared=graph,
        signature=_signature(graph.graph, where),
        states=tuple(prepared.notes),
        source=where,
        digest=content_digest(model),
    )


def _check_course(model: onnx.ModelProto, where: str) -> None:
    """Refuse a network whose operators do not run one after the other, each once."""
    node = next((n for n in model.graph.node if any(True for _ in subgraphs_of(n))), None)
    if node is None:
        return
    if node.op_type == "If":
        what = "is a branch that depends on data"
        hint = "Export the model without it"
    else:
        what = "is a loop of many trips, or of as many as the data says"
        hint = "Export the model with a shorter loop, whose trips are known, and it is written out"
    raise ModelError(
        f"node {node.name!r} ({node.op_type}) {what}, and such a network can't be compressed",
        where=where,
        hint=f"{hint}. `tvmcomp build` takes it as it is, with --quant int8 too.",
    )


def _in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` computed in float32, with the shapes of its tensors."""
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    types = {value.type.tensor_type.elem_type for value in values}
    types |= {tensor.data_type for tensor in model.graph.initializer}
    wide = {*HALF, onnx.TensorProto.DOUBLE} & types
    if not wide:
        return model
    compute_in_float32(model.graph, wide, keep_tables=False)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def content_digest(model: onnx.ModelProto) -> str:
    """SHA-256 over all that ``model`` holds; also where it is larger than a file may be."""
    digest = hashlib.sha256()
    for tensor in model.graph.initializer:
        digest.update(tensor.SerializeToString(deterministic=True))
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    del rest.graph.initializer[:]
    digest.update(rest.SerializeToString(deterministic=True))
    return digest.hexdigest()


def _signature(graph: onnx.GraphProto, where: str) -> Signature:
    return Signature(
        inputs=tuple(_spec(value, where) for value in graph.input),
        outputs=tuple(_spec(value, where) for value in graph.output),
    )


def _spec(value: onnx.ValueInfoProto, where: str) -> TensorSpec:
    kind = value.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    if not kind.HasField("shape") or None in sizes:
        raise ModelError(
            f"the shape of {value.name!r} depends on what the network is given, so that what it "
            "gives can't be compared",
            where=where,
        )
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return TensorSpec(value.name, tuple(size for size in sizes if size is not None), dtype)
