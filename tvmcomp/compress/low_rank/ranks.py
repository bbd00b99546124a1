"""Which forms and ranks of an operator are tried: whole vectors of channels, and less work."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx
import onnx.shape_inference

from tvmcomp.compress.cost import submodel
from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.graph import Graph, copied, set_nodes
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.low_rank.forms import Form, factor_sizes, write
from tvmcomp.targets.description import TargetDescription

#: Shares of the dense operator's multiply-accumulates that are tried.
_NARROW = (0.2, 0.35, 0.5, 0.65, 0.8)
_KERNELS = (0.25, 0.45, 0.65)


def forms_of(weight: Weight, lanes: int) -> list[Form]:
    """Forms of an operator, in steps of ``lanes`` channels, that take fewer multiply-accumulates
    a result."""
    found = dict.fromkeys(_forms(weight, lanes))
    dense = math.prod(weight.shape)
    return [form for form in found if sum(map(math.prod, factor_sizes(weight, form))) < dense]


def _forms(weight: Weight, lanes: int) -> Iterator[Form]:
    outputs, columns = weight.scales, math.prod(weight.shape) // weight.scales
    for share in _NARROW:
        rank = _step(share * outputs * columns / (outputs + columns), lanes)
        if rank < min(outputs, columns):
            yield Form("narrow", (rank,))
    taps = math.prod(weight.shape[2:]) if weight.role == roles.CONVOLUTION else 1
    if taps == 1:
        return
    channels = columns // taps
    for share in _KERNELS:
        ranks = tuple(_step(math.sqrt(share) * size, lanes) for size in (channels, outputs))
        if ranks[0] < channels and ranks[1] < outputs:
            yield Form("tucker", ranks)
        if len(weight.shape) == 4 and min(weight.shape[2:]) > 1:
            high, wide = weight.shape[2:]
            macs = channels * high + outputs * wide
            yield Form("spatial", (_step(share * outputs * columns / macs, lanes),))


def _step(size: float, lanes: int) -> int:
    return max(lanes, round(size / lanes) * lanes)


def trials(
    model: onnx.ModelProto, weight: Weight, target: TargetDescription
) -> tuple[onnx.ModelProto, dict[Form, onnx.ModelProto]]:
    """The operator of ``weight`` in ``model``, a prepared graph, by itself, and in each form that
    may be faster on ``target``."""
    dense = submodel(model, {weight.node})
    return dense, {form: trial(dense, weight, form) for form in forms_of(weight, lanes_of(target))}


def trial(dense: onnx.ModelProto, weight: Weight, form: Form) -> onnx.ModelProto:
    """``dense``, an operator by itself, in ``form``, with zeros for factors."""
    model = copied(dense)
    graph = Graph(model)
    zeros = [np.zeros(shape) for shape in factor_sizes(weight, form)]
    nodes = [
        made
        for node in graph.nodes
        for made in (
            write(graph, node, weight, form, zeros) if node.name == weight.node else [node]
        )
    ]
    set_nodes(model, nodes)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def lanes_of(target: TargetDescription) -> int:
    """Floats in a vector: a kernel's outputs come in multiples of them."""
    return max(target.vector_bits // 32, 4)
