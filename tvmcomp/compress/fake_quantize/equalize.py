"""Channels of like ranges: what an anchor gives is divided in its weight, its readers' multiplied.

Nothing else is computed, and the results are the same; see
:mod:`tvmcomp.quantize.rounding.equalization` for what it gains. Between the anchors may stand what
works channel by channel and scales with its data: ReLU, pools.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.fake_quantize.graph import Graph, copied, kind_of
from tvmcomp.compress.fake_quantize.planned import Plan
from tvmcomp.compress.fake_quantize.samples_at_once import run_samples
from tvmcomp.compress.fake_quantize.weights import CONVOLUTION, PRODUCT, Weight
from tvmcomp.compress.samples import Sample
from tvmcomp.quantize.rounding.equalization import Reader, equalizing_scales

_HOMOGENEOUS = frozenset(
    ["AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LeakyRelu", "MaxPool", "Relu"]
)
#: As in ``tvmcomp.quantize.equalize``: some tensor must be left with at most this share of its
#: noise, by estimate; then all are scaled that come below the other share.
_WORTH, _FREE = 0.2, 0.95


@dataclass(frozen=True)
class _Link:
    """A tensor whose channels may be scaled: its maker, and all that read it."""

    tensor: str
    maker: Weight
    bias: str
    readers: tuple[Weight, ...]


def equalized(model: onnx.ModelProto, plan: Plan, samples: Sequence[Sample]) -> onnx.ModelProto:
    """``model``, or a copy with channels scaled where that promises much less noise.

    Args:
        model: a prepared graph.
        plan: of it.
        samples: that the channels' ranges are taken from.
    """
    links = list(_links(Graph(model), plan))
    if not links:
        return model
    tensors = [link.tensor for link in links]
    largest: dict[str, np.ndarray] = {}
    squares: dict[str, np.ndarray] = {}
    for values in run_samples(BatchedNetwork(model, samples), samples, tensors):
        for name in tensors:
            data = np.moveaxis(values[name].numpy(), 2, 0)  # [samples, batch, C, …]
            data = data.reshape(len(data), -1).astype(np.float64)
            largest[name] = np.maximum(largest.get(name, 0.0), np.abs(data).max(axis=1))
            squares[name] = squares.get(name, 0.0) + np.square(data).mean(axis=1)
    graph = Graph(model)
    chosen, least = [], 1.0
    for link in links:
        readers = [_reader(graph, weight, squares[link.tensor]) for weight in link.readers]
        scales, noise = equalizing_scales(largest[link.tensor], readers)
        least = min(least, noise)
        if noise < _FREE:
            chosen.append((link, scales))
    return _scaled(model, chosen) if least < _WORTH else model


def _links(graph: Graph, plan: Plan) -> Iterator[_Link]:
    own = {w.node: w for w in plan.weights if len(graph.readers[w.tensor]) == 1}
    for node in graph.nodes:
        maker = own.get(node.name)
        if maker is None or maker.role not in (CONVOLUTION, PRODUCT) or kind_of(node) == "MatMul":
            continue
        bias = node.input[2] if len(node.input) > 2 else ""
        value = graph.constant(bias)
        if bias and (value is None or value.shape != (maker.scales,)):
            continue
        if bias and len(graph.readers[bias]) != 1:
            continue
        tensor = node.output[0]
        reader = graph.only_reader(tensor)
        while reader is not None and kind_of(reader) in _HOMOGENEOUS and reader.input[0] == tensor:
            tensor = reader.output[0]
            reader = graph.only_reader(tensor)
        readers = tuple(_reading(graph, tensor, own))
        if readers and len(readers) == len(graph.readers.get(tensor, ())):
            yield _Link(tensor, maker, bias, readers)


def _reading(graph: Graph, tensor: str, own: dict[str, Weight]) -> Iterator[Weight]:
    """The weights of anchors that read the tensor's channels one by one."""
    rank = len(graph.shape(tensor) or ())
    for node in graph.readers.get(tensor, ()):
        weight = own.get(node.name) if node is not None else None
        if node is None or weight is None or node.input[0] != tensor:
            return
        if weight.role == CONVOLUTION or (weight.role == PRODUCT and rank == 2):
            yield weight


def _reader(graph: Graph, weight: Weight, squares: np.ndarray) -> Reader:
    value = graph.constant(weight.tensor)
    assert value is not None
    groups = weight.groups
    matrices = weight.matrices(value)
    taps = matrices.shape[2] * groups // len(squares)
    split = matrices.reshape(groups, matrices.shape[1], -1, taps)
    return Reader(np.swapaxes(split, 2, 3), squares.reshape(groups, -1))


def _scaled(model: onnx.ModelProto, chosen: Sequence[tuple[_Link, np.ndarray]]) -> onnx.ModelProto:
    model = copied(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def change(name: str, factor: np.ndarray) -> None:
        array = numpy_helper.to_array(tensors[name]) * factor
        tensors[name].CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))

    for link, scales in chosen:
        along = [-1 if axis == link.maker.axis else 1 for axis in range(len(link.maker.shape))]
        change(link.maker.tensor, 1 / scales.reshape(along))
        if link.bias:
            change(link.bias, 1 / scales)
        for weight in link.readers:
            matrices: np.ndarray = weight.matrices(np.ones(weight.shape))
            taps = matrices.shape[2] * weight.groups // len(scales)
            factor = np.repeat(scales.reshape(weight.groups, -1), taps, axis=1)
            change(weight.tensor, weight.from_matrices(matrices * factor[:, None, :]))
    return model
