"""IF, WHILE and CALL as ONNX's If and Loop, whose inner graphs are the source's subgraphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.network import Operator, Subgraph, Tensor
from tvmcomp.frontend.tflite.writer import Writer, onnx_type


def _subgraph(call: Call, index: int) -> Subgraph:
    if not 0 < index < len(call.network.subgraphs):
        raise ValueError(f"it runs subgraph {index} of {len(call.network.subgraphs)}")
    return call.network.subgraphs[index]


def _described(name: str, tensor: Tensor) -> onnx.ValueInfoProto:
    if tensor.dtype is None:
        raise ValueError(f"{tensor.name!r} is no tensor of numbers")
    shape = None
    if tensor.shape is not None:
        shape = [size if size >= 0 else None for size in tensor.shape]
    return helper.make_tensor_value_info(name, onnx_type(tensor.dtype), shape)


def _arrays(call: Call, inputs: Sequence[int]) -> list[np.ndarray | None]:
    return [call.array(i) for i in inputs]


def _graph(
    writer: Writer, name: str, inputs: list[onnx.ValueInfoProto], results: list[tuple[str, Tensor]]
) -> onnx.GraphProto:
    """An inner graph; each result is a value of its own in it."""
    outputs = []
    for value, tensor in results:
        own = writer.node("Identity", value)
        outputs.append(_described(own, tensor))
    writer.end()
    return helper.make_graph(writer.nodes, name, inputs, outputs)


def if_(call: Call) -> None:
    """IF: the first input chooses, the rest are both branches' inputs."""
    options = call.options("IfOptions")
    given = range(1, len(call.operator.inputs))
    names, arrays = [call.stored(i) for i in given], _arrays(call, given)
    branches = {}
    for key, index in (
        ("then_branch", options.ThenSubgraphIndex()),
        ("else_branch", options.ElseSubgraphIndex()),
    ):
        subgraph, writer = _subgraph(call, index), call.w.inner()
        results = call.state.run(subgraph, names, arrays, writer)
        pairs = [
            (value, subgraph.tensors[i]) for value, i in zip(results, subgraph.outputs, strict=True)
        ]
        branches[key] = _graph(writer, subgraph.name or key, [], pairs)
    count = len(call.operator.outputs)
    for i, name in enumerate(call.w.nodes_of("If", [call.stored(0)], count, **branches)):
        call.give_stored(name, i)


def call_(call: Call) -> None:
    """CALL: a subgraph in place."""
    _run_in_place(call, call.options("CallOptions").Subgraph())


def composite(call: Call) -> None:
    """STABLEHLO_COMPOSITE, as PyTorch's converter writes its modules: by what it consists of."""
    options = call.options("StableHLOCompositeOptions")
    _run_in_place(call, options.DecompositionSubgraphIndex())


def _run_in_place(call: Call, index: int) -> None:
    subgraph = _subgraph(call, index)
    given = range(len(call.operator.inputs))
    names = [call.stored(i) for i in given]
    for i, name in enumerate(call.state.run(subgraph, names, _arrays(call, given), call.w)):
        call.give_stored(name, i)


def while_(call: Call) -> None:
    """WHILE: what the body gives is what it takes next; what it only passes on is no part of it."""
    options = call.options("WhileOptions")
    condition = _subgraph(call, options.CondSubgraphIndex())
    body = _subgraph(call, options.BodySubgraphIndex())
    count = len(call.operator.inputs)
    if not len(body.inputs) == len(body.outputs) == len(condition.inputs) == count:
        raise ValueError("its condition and body take other numbers of tensors")
    given, arrays = [call.stored(i) for i in range(count)], _arrays(call, range(count))
    fixed = [body.outputs[i] == body.inputs[i] for i in range(count)]
    carried = [i for i in range(count) if not fixed[i]]
    known = [array if same else None for array, same in zip(arrays, fixed, strict=True)]
    trips = _trips(condition, body, arrays, known)

    writer = call.w.inner()
    writer.begin(f"{call.out().name}/body" if call.operator.outputs else "body")
    own = {i: writer.names.unique(body.tensors[body.inputs[i]].name) for i in carried}
    names = [own.get(i, given[i]) for i in range(count)]
    results = call.state.run(body, names, known, writer)
    iteration, alive = writer.names.unique("iteration"), writer.names.unique("condition")
    inputs = [
        helper.make_tensor_value_info(iteration, onnx.TensorProto.INT64, []),
        helper.make_tensor_value_info(alive, onnx.TensorProto.BOOL, []),
        *(_described(own[i], body.tensors[body.inputs[i]]) for i in carried),
    ]
    goes_on, first = alive, ""
    if trips is None:
        after = [given[i] if fixed[i] else results[i] for i in range(count)]
        goes_on = _truth(writer, call.state.run(condition, after, known, writer)[0])
        first = _truth(call.w, call.state.run(condition, given, arrays, call.w)[0])
    truth = Tensor("condition", (), (), np.dtype(bool), None, None, False)
    pairs = [(results[i], body.tensors[body.outputs[i]]) for i in carried]
    graph = _graph(writer, body.name or "body", inputs, [(goes_on, truth), *pairs])
    most = "" if trips is None else call.w.constant(np.int64(trips))
    looped = call.w.nodes_of(
        "Loop", [most, first, *(given[i] for i in carried)], len(carried), body=graph
    )
    for i in range(count):
        call.give_stored(looped[carried.index(i)] if i in carried else given[i], i)


def _truth(writer: Writer, name: str) -> str:
    """A condition as a scalar."""
    return writer.node("Reshape", name, writer.constant(np.zeros(0, np.int64)))


def _trips(
    condition: Subgraph,
    body: Subgraph,
    initial: Sequence[np.ndarray | None],
    fixed: Sequence[np.ndarray | None],
) -> int | None:
    """How often the body runs, where the condition is that counters are less than constants.

    A counter is a tensor that the body adds a constant to.
    """
    makers = {i: each for each in condition.operators for i in each.outputs}
    pending, trips = [condition.outputs[0]], []
    while pending:
        maker = makers.get(pending.pop())
        if maker is None:
            return None
        if maker.kind == "LOGICAL_AND":
            pending.extend(maker.inputs)
            continue
        if maker.kind != "LESS" or maker.inputs[0] not in condition.inputs:
            return None
        place = condition.inputs.index(maker.inputs[0])
        start, step = initial[place], _step(body, place)
        end = condition.tensors[maker.inputs[1]].array
        if end is None and maker.inputs[1] in condition.inputs:
            end = fixed[condition.inputs.index(maker.inputs[1])]
        if start is None or end is None or step is None or start.size != 1 or end.size != 1:
            return None
        if start.dtype.kind != "i":
            return None
        span = int(end.reshape(-1)[0]) - int(start.reshape(-1)[0])
        trips.append(max(-(-span // step), 0))
        if len(trips) > len(condition.operators):
            return None
    return min(trips)


def _step(body: Subgraph, place: int) -> int | None:
    """What the body adds to its input ``place``, if that is all that it does to it."""
    maker: Operator | None = next(
        (each for each in body.operators if body.outputs[place] in each.outputs), None
    )
    if maker is None or maker.kind != "ADD" or body.inputs[place] not in maker.inputs:
        return None
    other = maker.inputs[1 - maker.inputs.index(body.inputs[place])]
    step = body.tensors[other].array
    return int(step.reshape(-1)[0]) if step is not None and step.size == 1 and step > 0 else None


#: Operator of the source -> converter.
CONTROL = {"CALL": call_, "IF": if_, "STABLEHLO_COMPOSITE": composite, "WHILE": while_}
