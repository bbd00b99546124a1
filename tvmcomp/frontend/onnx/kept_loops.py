"""Loops that stay loops: a node of our own, whose body is a simplified network of static shapes.

    states…, rows… = tvmcomp.Loop(trips, going, states…; body, bound, conditional, counted)

``trips`` and ``going`` are as ONNX's Loop has them, and may be left out; the body's inputs are the
trip's number and the states, its outputs whether to go on, if that depends on data, the states and
the rows. What else it reads are tensors from outside, by their names. Where a condition may end the
loop before all rows are given, ``counted``, the last state is their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.frontend.onnx.renamed import renamed
from tvmcomp.frontend.onnx.row_writes import with_rows_chosen
from tvmcomp.frontend.onnx.trip_count import defined_in, read_inside

#: Of :data:`~tvmcomp.frontend.onnx.quantized_lstm.DOMAIN`.
LOOP = "Loop"
#: A loop of more trips counts as one of no bound: its trip count still ends it.
_MOST_BOUND = 2**31 - 1


class NotKept(Exception):
    """A loop can't stay a loop; it says why."""


@dataclass(frozen=True)
class Trips:
    """How often a loop runs.

    Attributes:
        bound: at most so often, where that is known.
        conditional: a condition that depends on data may end it before.
    """

    bound: int | None
    conditional: bool


def kept_loop(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    trips: Trips,
    types: Mapping[str, onnx.TypeProto],
    constants: Mapping[str, onnx.TensorProto],
    simplify: Callable[[onnx.ModelProto], onnx.ModelProto],
) -> tuple[onnx.NodeProto, list[onnx.ValueInfoProto], list[onnx.TensorProto]]:
    """The node in the place of a Loop.

    Args:
        model: for its operator sets.
        node: ONNX's Loop.
        trips: how often it runs.
        types: of the tensors that are known outside.
        constants: those outside.
        simplify: makes a model of the operators that are imported, of one that is not changed.

    Returns:
        The node, the types of its outputs, and constants that it reads.

    Raises:
        NotKept: a state changes its shape, rows are given whose number has no bound, ….
    """
    body = next(a.g for a in node.attribute if a.name == "body")
    carried = list(node.input[2:])
    first = [_typed(types, constants, name, "what it carries") for name in carried]
    inside = _simplified(model, body, first, types, constants, simplify)
    outputs = [value.type for value in inside.output]
    for name, before, after in zip(carried, first, outputs[1:], strict=False):
        if after.tensor_type.HasField("shape") and _dims(after) != _dims(before):
            raise NotKept(
                f"what it carries, {name!r}, has the shape {_dims(before)} before a trip and "
                f"{_dims(after)} after it"
            )
    states = len(carried)
    results = list(node.output) + [""] * (states - len(node.output))
    wanted = [i for i, name in enumerate(results[states:]) if name]
    rows = [outputs[1 + states + i] for i in wanted]
    bound = trips.bound if trips.bound is not None and trips.bound <= _MOST_BOUND else None
    if rows and bound is None:
        raise NotKept("how many rows it gives depends on data")
    condition, after = inside.output[0], list(inside.output[1 : 1 + states])
    kept_rows = [inside.output[1 + states + i] for i in wanted]
    constants_of: list[onnx.TensorProto] = []
    results = [*results[:states], *(results[states + i] for i in wanted)]
    counted = bool(rows) and trips.conditional
    if counted:  # One more state, by which the rows are counted.
        state, made, constants_of = _counter(node.name, inside)
        carried.append(constants_of[0].name)
        first.append(state.type)
        after.append(made)
        results.insert(states, f"{node.name}//count")
    del inside.output[:]
    inside.output.extend([*([condition] if trips.conditional else []), *after, *kept_rows])
    shapes = [*map(_dims, first), *([bound, *_dims(row)] for row in rows)]
    kinds = [each.tensor_type.elem_type for each in (*first, *rows)]
    values = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in zip(results, kinds, shapes, strict=True)
        if name
    ]
    _prefix(inside, node.name, constants)
    kept = helper.make_node(
        LOOP,
        [*node.input[:2], *("" for _ in range(2 - len(node.input))), *carried],
        results,
        name=node.name,
        domain=DOMAIN,
        body=inside,
        bound=bound or 0,
        conditional=int(trips.conditional),
        counted=int(counted),
    )
    return kept, values, constants_of


def _counter(
    prefix: str, body: onnx.GraphProto
) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto, list[onnx.TensorProto]]:
    """A state of ``body`` that counts the trips: it, what a trip makes of it, its first value."""
    before, after = (
        helper.make_tensor_value_info(f"count_{when}", TensorProto.INT64, [])
        for when in ("before", "after")
    )
    one = numpy_helper.from_array(np.array(1, "int64"), "count_step")
    body.initializer.append(one)
    body.input.append(before)
    add = helper.make_node("Add", [before.name, one.name], [after.name], name=after.name)
    body.node.append(add)
    zero = numpy_helper.from_array(np.array(0, "int64"), f"{prefix}//count_first")
    return before, after, [zero]


def _simplified(
    model: onnx.ModelProto,
    body: onnx.GraphProto,
    first: list[onnx.TypeProto],
    types: Mapping[str, onnx.TypeProto],
    constants: Mapping[str, onnx.TensorProto],
    simplify: Callable[[onnx.ModelProto], onnx.ModelProto],
) -> onnx.GraphProto:
    """The body as a network by itself, without the condition that it is given: that is true."""
    inputs = [helper.make_tensor_value_info(body.input[0].name, TensorProto.INT64, [])]
    for value, kind in zip(body.input[2:], first, strict=True):
        inputs.append(onnx.ValueInfoProto(name=value.name, type=kind))
    own = {value.name for value in body.input} | {t.name for t in body.initializer}
    own |= set(defined_in(body))
    read = {name for node in body.node for name in (*node.input, *read_inside(node)) if name}
    read |= {value.name for value in body.output}
    held = list(body.initializer)
    held.append(numpy_helper.from_array(np.array(True), body.input[1].name))
    for name in sorted(read - own):
        if name in constants:
            held.append(constants[name])
        else:
            kind = _typed(types, constants, name, "what it reads")
            inputs.append(onnx.ValueInfoProto(name=name, type=kind))
    # An output that is an input or a constant needs a node between.
    results = [f"{value.name}/{i}" for i, value in enumerate(body.output)]
    copies = [
        helper.make_node("Identity", [value.name], [result], name=result)
        for value, result in zip(body.output, results, strict=True)
    ]
    kinds = [onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor(elem_type=TensorProto.BOOL)), *first]
    outputs = [onnx.ValueInfoProto(name=result) for result in results]
    for output, kind in zip(outputs, kinds, strict=False):
        output.type.tensor_type.elem_type = kind.tensor_type.elem_type
    shapes = {value.name: _dims(kind) for value, kind in zip(body.input[2:], first, strict=True)}
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in held}
    nodes, places = with_rows_chosen(body, shapes, arrays)
    held += places
    graph = helper.make_graph([*nodes, *copies], body.name or "body", inputs, outputs, held)
    network = simplify(
        helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    ).graph
    for value in network.output[1 + len(first) :]:
        if not value.type.tensor_type.HasField("shape") or _is_open(value.type):
            raise NotKept(f"the shape of {value.name!r}, which its body gives, is not known")
    if len(network.output) != len(results):
        raise NotKept("the size of what its body gives depends on data")
    del network.input[1 + len(first) :]
    return network


def _prefix(body: onnx.GraphProto, prefix: str, constants: Mapping[str, onnx.TensorProto]) -> None:
    """Rename what ``body`` defines, so that no name is one outside; drop constants from there."""
    held = [tensor for tensor in body.initializer if tensor.name not in constants]
    del body.initializer[:]
    body.initializer.extend(held)
    own = {*defined_in(body), *(v.name for v in body.input), *(t.name for t in held)}
    names = {name: f"{prefix}//{name}" for name in own}
    for tensor in (*body.input, *body.output, *body.initializer):
        tensor.name = names.get(tensor.name, tensor.name)
    del body.value_info[:]
    for node in body.node:
        renamed(node, names)


def _typed(
    types: Mapping[str, onnx.TypeProto],
    constants: Mapping[str, onnx.TensorProto],
    name: str,
    what: str,
) -> onnx.TypeProto:
    """The type of a tensor of a known shape."""
    if name in constants:
        tensor = constants[name]
        return helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    kind = types.get(name)
    if kind is None or not kind.tensor_type.HasField("shape") or _is_open(kind):
        raise NotKept(f"{what}, {name!r}, is no tensor of a known shape")
    return kind


def _is_open(kind: onnx.TypeProto) -> bool:
    return any(not dim.HasField("dim_value") for dim in kind.tensor_type.shape.dim)


def _dims(kind: onnx.TypeProto) -> list[int]:
    return [dim.dim_value for dim in kind.tensor_type.shape.dim]


def infer_loop_shapes(node: ir.Node) -> None:
    """Note the shapes of what a kept loop gives, and their types."""
    bound = node.attributes["bound"].as_int()
    conditional = node.attributes["conditional"].as_int()
    first = node.inputs[2:]
    given = node.attributes["body"].as_graph().outputs[conditional:]
    for output, before in zip(node.outputs, first, strict=False):
        if before is not None and before.shape is not None:
            output.shape, output.dtype = before.shape, before.dtype
    for output, row in zip(node.outputs[len(first) :], given[len(first) :], strict=False):
        output.dtype = row.dtype
        if row.shape is not None:
            output.shape = ir.Shape([bound, *row.shape])


def infer_branch_shapes(node: ir.Node) -> None:
    """Note the shapes that both branches of an If give."""
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    for output, *inside in zip(node.outputs, *(b.outputs for b in branches), strict=False):
        if inside[0].shape is not None and inside[0].shape == inside[1].shape:
            output.shape = inside[0].shape
        known = [value.dtype for value in inside if value.dtype is not None]
        if known:  # a type of no dtype is not even a type
            output.dtype = known[0]


def is_kept_loop(node: onnx.NodeProto) -> bool:
    """Whether ``node`` is such a loop."""
    return node.domain == DOMAIN and node.op_type == LOOP


def is_counted_loop(node: onnx.NodeProto) -> bool:
    """Whether ``node`` is such a loop whose last state is the number of its rows."""
    return is_kept_loop(node) and any(a.name == "counted" and a.i for a in node.attribute)


def is_endless_loop(node: onnx.NodeProto) -> bool:
    """Whether ``node`` is such a loop, and nothing bounds its trips."""
    return is_kept_loop(node) and not any(a.name == "bound" and a.i for a in node.attribute)
