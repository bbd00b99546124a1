"""Put FakeQuantize into a graph, where a plan has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, copied, set_nodes
from tvmcomp.compress.fake_quantize.planned import Plan
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.operators.fake_quantize import FAKE_QUANTIZE
from tvmcomp.compress.operators.recurrent import STATE_STEPS
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.qparams import QParams
from tvmcomp.quantize.rounding.weight_scales import weight_scales
from tvmcomp.schedules.recurrent.integers import STEPS

ACTIVATION_BITS = 8


def insert(
    model: onnx.ModelProto,
    plan: Plan,
    ranges: Mapping[str, QParams],
    bits: Mapping[str, int],
    ties: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """A copy of ``model`` with FakeQuantize around what ``plan`` rounds.

    Args:
        model: the prepared graph that was planned.
        plan: what is rounded.
        ranges: tensor -> its parameters, uint8.
        bits: weight -> how many it is stored in.
        ties: tensor -> the one whose scale and zero point it has, of one range.
    """
    model = copied(model)
    graph = Graph(model)
    steps: dict[str, list[str]] = {}
    #: A weight's stands right before what reads it first, as rounding goes by the order.
    before: dict[str, list[onnx.NodeProto]] = {}
    behind: dict[str, list[onnx.NodeProto]] = {}
    front = []
    for weight in plan.weights:
        nodes = _of_weight(graph, weight, bits[weight.tensor], plan.multiplied[weight.tensor])
        before.setdefault(weight.node, []).extend(nodes)
        if weight.role == roles.STATE:
            (layer,) = (each for each in graph.nodes if each.name == weight.node)
            layer.attribute.append(helper.make_attribute(STATE_STEPS, STEPS))
    for tensor, readers in plan.activations.items():
        owner = (ties or {}).get(tensor, tensor)
        if owner not in steps:
            steps[owner] = _steps(graph, owner, ranges[owner])
        result = graph.free_name(f"{tensor}_rounded")
        node = _node([tensor, *steps[owner]], result, ACTIVATION_BITS, signed=False, axis=0)
        wanted = frozenset(readers)
        for reader in graph.nodes:
            if reader.name in wanted:
                _replace(reader, tensor, node.output[0])
        producer = graph.producer.get(tensor)
        if producer is None:  # an input of the network
            front.append(node)
        else:
            behind.setdefault(producer.name, []).append(node)
    nodes = front
    for node in graph.nodes:
        nodes += [*before.get(node.name, ()), node, *behind.get(node.name, ())]
    set_nodes(model, nodes)
    if DOMAIN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model


def _steps(graph: Graph, tensor: str, params: QParams) -> list[str]:
    """The names of a scale and a zero point."""
    scale = graph.add_constant(f"{tensor}_scale", params.scale)
    zero = graph.add_constant(f"{tensor}_zero_point", params.zero_point.astype(np.float32))
    return [scale, zero]


def _of_weight(
    graph: Graph, weight: Weight, bits: int, readers: Sequence[str]
) -> list[onnx.NodeProto]:
    value = graph.constant(weight.tensor)
    assert value is not None
    scales = weight.shared_scale(weight_scales(weight.matrices(value), bits))
    scale = graph.add_constant(f"{weight.tensor}_scale", scales)
    result = graph.free_name(f"{weight.tensor}_rounded")
    nodes = []
    source = weight.tensor
    if weight.stored_shape != weight.shape:  # directions and rows as one axis
        source = graph.add_constant(f"{weight.tensor}_rows", value.reshape(weight.stored_shape))
        shape = graph.add_constant(f"{weight.tensor}_shape", np.array(weight.shape))
        flat = graph.free_name(f"{weight.tensor}_rows_rounded")
        nodes = [_node([source, scale], flat, bits, signed=True, axis=weight.axis)]
        nodes.append(helper.make_node("Reshape", [flat, shape], [result], f"{result}_reshape"))
    else:
        nodes = [_node([source, scale], result, bits, signed=True, axis=weight.axis)]
    for reader in graph.nodes:
        if reader.name in readers:
            _replace(reader, weight.tensor, result)
    return nodes


def _node(inputs: list[str], result: str, bits: int, *, signed: bool, axis: int) -> onnx.NodeProto:
    return helper.make_node(
        FAKE_QUANTIZE,
        inputs,
        [result],
        name=f"{result}_fake_quantize",
        domain=DOMAIN,
        bits=bits,
        signed=int(signed),
        narrow=int(signed),
        axis=axis,
    )


def _replace(node: onnx.NodeProto, old: str, new: str) -> None:
    for place, name in enumerate(node.input):
        if name == old:
            node.input[place] = new
