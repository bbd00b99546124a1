"""Bind the dimensions of an ONNX graph's inputs, so that every shape in it is static."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.limits import MOST_ELEMENTS
from tvmcomp.frontend.onnx.narrow import NARROW
from tvmcomp.frontend.onnx.support import subgraphs_of

#: The types of inputs that a network can be run with.
_INPUT_TYPES = {
    onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16, onnx.TensorProto.BOOL,
    onnx.TensorProto.INT8, onnx.TensorProto.INT16, onnx.TensorProto.INT32, onnx.TensorProto.INT64,
    onnx.TensorProto.UINT8, onnx.TensorProto.UINT16, onnx.TensorProto.UINT32,
    onnx.TensorProto.UINT64,
}  # fmt: skip
_INPUT_TYPES |= set(NARROW)
#: The size of a dimension name that was given two sizes.
_AMBIGUOUS = -1


def bind_shapes(
    model: onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]],
    dims: Mapping[str, int] | None = None,
    *,
    where: str,
) -> None:
    """Give every input of ``model`` a static shape, in place.

    ``shapes`` holds full shapes by input name, ``dims`` sizes of named dimensions. A named one
    (``batch``) that one given shape fixes is fixed wherever the name appears. Shapes recorded for
    outputs and inner tensors are dropped: they may disagree with the bound ones, and are inferred
    again.

    Raises:
        ModelError: ``shapes`` names no input, ``dims`` no dimension; a shape has another rank,
            contradicts the model, itself or ``dims``; a dimension is left unbound.
    """
    graph = model.graph
    _drop_inputs_with_initializer(graph)
    for value in graph.input:
        if value.type.optional_type.elem_type.HasField("tensor_type"):
            # An optional input is one that is given.
            value.type.CopyFrom(value.type.optional_type.elem_type)
    inputs = {value.name: value for value in graph.input}
    for name in shapes:
        if name not in inputs:
            raise ModelError(
                f"has no input {name!r}; its inputs are {', '.join(map(repr, inputs)) or 'none'}",
                where=where,
                hint="Give --shape for one of these.",
            )
    named: dict[str, int] = dict(dims or {})
    _check_names(graph, named, where)
    for value in inputs.values():
        _check_tensor(value, where)
        if value.name in shapes:
            _bind(value, tuple(shapes[value.name]), named, frozenset(dims or ()), where)
    unbound = [
        (value, dim_text)
        for value in inputs.values()
        if value.name not in shapes and (dim_text := _bind_named_dims(value, named)) is not None
    ]
    if unbound:
        raise ModelError(
            "; ".join(f"input {value.name!r} has {text}" for value, text in unbound),
            where=where,
            hint="Bind it: " + " ".join(_options(value) for value, _ in unbound),
        )
    drop_recorded_shapes(graph)


def drop_recorded_shapes(graph: onnx.GraphProto) -> None:
    """Forget the recorded shapes of inner tensors and outputs, in subgraphs as well.

    An output that is an input, with nothing between, has the input's bound shape: to the passes
    that follow the two are one tensor.
    """
    del graph.value_info[:]
    inputs = {value.name: value.type for value in graph.input}
    for output in graph.output:
        if output.name in inputs:
            output.type.CopyFrom(inputs[output.name])
        elif output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for subgraph in subgraphs_of(node):
            drop_recorded_shapes(subgraph)


def _drop_inputs_with_initializer(graph: onnx.GraphProto) -> None:
    """Before IR version 4 every weight was also listed as an input; it is a constant here."""
    constants = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(kept)


def _check_tensor(value: onnx.ValueInfoProto, where: str) -> None:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "untyped"
        raise ModelError(
            f"input {value.name!r} is not a tensor ({kind.removesuffix('_type')})", where=where
        )
    kind = value.type.tensor_type.elem_type
    if kind == onnx.TensorProto.STRING:
        raise ModelError(
            f"input {value.name!r} holds strings, which can't be compiled",
            where=where,
            hint="Export the model without its text preprocessing.",
        )
    if kind not in _INPUT_TYPES:
        known = onnx.TensorProto.DataType.values()
        name = onnx.TensorProto.DataType.Name(kind).lower() if kind in known else str(kind)
        raise ModelError(
            f"input {value.name!r} is of the type {name}, which can't be given to a network",
            where=where,
            hint="Inputs may be floats of 4 to 64 bits, integers of 2 to 64 bits, and bool.",
        )


def _check_names(graph: onnx.GraphProto, dims: Mapping[str, int], where: str) -> None:
    """Refuse sizes of dimensions that the inputs do not name, and sizes below 1."""
    names = {dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim}
    names.discard("")
    for name, size in dims.items():
        if name not in names:
            raise ModelError(
                f"has no dimension {name!r}; those with a name are "
                f"{', '.join(map(repr, sorted(names))) or 'none'}",
                where=where,
                hint="Give --dim for one of these, or --shape for an input.",
            )
        if not 1 <= size <= MOST_ELEMENTS:
            raise ModelError(f"dimension {name!r} can't be {size}", where=where)


def _bind(
    value: onnx.ValueInfoProto,
    shape: tuple[int, ...],
    named: dict[str, int],
    fixed: frozenset[str],
    where: str,
) -> None:
    """Write ``shape`` into ``value`` and note the dimensions that it gives names a size.

    Those of ``fixed`` have theirs already.
    """
    tensor_type = value.type.tensor_type
    if any(dim < 0 for dim in shape):
        raise ModelError(f"input {value.name!r}: shape {shape} has a size below 0", where=where)
    if any(dim > MOST_ELEMENTS for dim in shape):
        raise ModelError(
            f"input {value.name!r}: shape {shape} has a size above {MOST_ELEMENTS}", where=where
        )
    if not tensor_type.HasField("shape"):
        tensor_type.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in shape)
    if len(tensor_type.shape.dim) != len(shape):
        raise ModelError(
            f"input {value.name!r} has {len(tensor_type.shape.dim)} dimensions "
            f"({_shape_text(value)}), not {len(shape)}",
            where=where,
            hint=f"Give --shape {_example(value)}",
        )
    for index, (dim, size) in enumerate(zip(tensor_type.shape.dim, shape, strict=True)):
        if dim.dim_value > 0 and dim.dim_value != size:
            raise ModelError(
                f"input {value.name!r}: dimension {index} is {dim.dim_value} in the model, "
                f"{size} was given",
                where=where,
                hint=f"Give {dim.dim_value}, or export the model with a dynamic dimension.",
            )
        if dim.dim_param in fixed and named[dim.dim_param] != size:
            raise ModelError(
                f"input {value.name!r}: dimension {index} ({dim.dim_param}) is {size} in its "
                f"shape, and {named[dim.dim_param]} by its name",
                where=where,
                hint="Give one of --shape and --dim, or the same size in both.",
            )
        # Some exporters give several dimensions one name ("?"), which then says nothing.
        if dim.dim_param:
            named[dim.dim_param] = size if named.get(dim.dim_param, size) == size else _AMBIGUOUS
        dim.dim_value = size


def _bind_named_dims(value: onnx.ValueInfoProto, named: dict[str, int]) -> str | None:
    """Bind what ``named`` knows; describe the first dimension that is left unbound."""
    if not value.type.tensor_type.HasField("shape"):
        return "no shape at all"
    for index, dim in enumerate(value.type.tensor_type.shape.dim):
        if dim.dim_value < 1 and named.get(dim.dim_param, _AMBIGUOUS) != _AMBIGUOUS:
            dim.dim_value = named[dim.dim_param]
        if dim.dim_value < 1:
            name = f" ({dim.dim_param})" if dim.dim_param else ""
            return f"an unbound dimension {index}{name} in shape {_shape_text(value)}"
    return None


def _shape_text(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return (
        "("
        + ", ".join(str(d.dim_value) if d.dim_value > 0 else d.dim_param or "?" for d in dims)
        + ")"
    )


def _options(value: onnx.ValueInfoProto) -> str:
    """The arguments that bind ``value``: its shape, or its open dimensions where all have names."""
    dims = value.type.tensor_type.shape.dim
    open_dims = [dim.dim_param for dim in dims if dim.dim_value < 1]
    by_name = " ".join(f"--dim {name}=1" for name in dict.fromkeys(open_dims))
    alternative = f" (or {by_name})" if open_dims and all(open_dims) else ""
    return f"--shape {_example(value)}{alternative}"


def _example(value: onnx.ValueInfoProto) -> str:
    """Return a ``--shape`` argument for ``value``, with 1 for each size that is not known."""
    dims = value.type.tensor_type.shape.dim
    return f"{value.name}=" + (",".join(str(max(d.dim_value, 1)) for d in dims) or "1,…")
