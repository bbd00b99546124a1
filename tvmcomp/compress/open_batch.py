"""Open a network's batch again, which was bound to one sample while it was worked on.

Nothing is concluded from the operators alone: where two samples at once give what each gives by
itself, the batch is open; elsewhere it stays closed. What says the batch as a number (the shape of
a Reshape) is told to copy it instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.node_facts import attributes_of

#: The name of the dimension, where the original has none for it.
_NAME = "batch"
#: A part of the outputs' energy that may differ between samples at once and one by one: sums in
#: another order, and the roundings that they tip.
_TIPPED = 1e-3


def is_open(dim: onnx.TensorShapeProto.Dimension) -> bool:
    """Whether a model says no size of a dimension; Paddle's exporter writes -1."""
    return not dim.HasField("dim_value") or dim.dim_value < 0


def batch_inputs(original: onnx.GraphProto) -> list[str]:
    """The inputs of ``original`` whose first dimension is open, where all of them mean the same."""
    firsts = {
        value.name: value.type.tensor_type.shape.dim[0]
        for value in original.input
        if value.type.tensor_type.shape.dim
    }
    opened = {name: dim for name, dim in firsts.items() if is_open(dim)}
    names = {dim.dim_param for dim in opened.values()}
    return list(opened) if len(names) == 1 else []


def with_open_batch(
    model: onnx.ModelProto,
    original: onnx.GraphProto,
    samples: Sequence[Mapping[str, NDArray]],
) -> onnx.ModelProto | None:
    """``model`` for any number of samples; None where it can't be, or can't be told.

    Args:
        model: for one sample; it stays as it is.
        original: what it was made of.
        samples: two or more, of ``model``'s inputs.
    """
    batched = batch_inputs(original)
    given = {value.name: value for value in model.graph.input}
    closed = any(
        name not in given or given[name].type.tensor_type.shape.dim[0].dim_value != 1
        for name in batched
    )
    if not batched or closed or len(samples) < 2:
        return None
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    _copy_batch_in_reshapes(opened.graph)
    del opened.graph.value_info[:]
    # Inputs without a batch are one for all samples.
    pair = [{**samples[0], **{name: sample[name] for name in batched}} for sample in samples[:2]]
    together = {**pair[0], **{name: np.concatenate([s[name] for s in pair]) for name in batched}}
    try:
        each = [_run(model, sample) for sample in pair]
        if not all(map(_alike, _run(opened, pair[0]), each[0])):
            return None
        both = _run(opened, together)
    except ModelError:
        return None
    first = next(value for value in original.input if value.name == batched[0])
    given_name = first.type.tensor_type.shape.dim[0].dim_param
    name = given_name if given_name.isidentifier() else _NAME
    for value, got, *singles in zip(opened.graph.output, both, *each, strict=True):
        if got.shape == singles[0].shape and _alike(got, singles[0]):
            continue  # it does not depend on the batch
        if got.ndim == 0 or not _alike(got, np.concatenate(singles)):
            return None
        value.type.tensor_type.shape.dim[0].dim_param = name
    for value in opened.graph.input:
        if value.name in batched:
            value.type.tensor_type.shape.dim[0].dim_param = name
    return opened


def _copy_batch_in_reshapes(graph: onnx.GraphProto) -> None:
    """Let each Reshape of data to a shape that begins with 1 copy the first dimension instead."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    replaced = set()
    for index, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.input[0] in constants:
            continue
        shape = constants.get(node.input[1])
        if shape is None or attributes_of(node).get("allowzero"):
            continue
        sizes = numpy_helper.to_array(shape)
        if sizes.size and sizes[0] == 1:
            name = f"{shape.name}_of_batch_{index}"
            copied = np.concatenate([np.zeros(1, sizes.dtype), sizes[1:]])
            graph.initializer.append(numpy_helper.from_array(copied, name))
            node.input[1] = name
            replaced.add(shape.name)
    read = {name for node in graph.node for name in node.input}
    for name in replaced - read - {value.name for value in graph.output}:
        graph.initializer.remove(constants[name])


def _run(model: onnx.ModelProto, sample: Mapping[str, NDArray]) -> list[NDArray]:
    network = TrainableNetwork(model)
    with torch.no_grad():
        results = network(*(torch.from_numpy(np.array(sample[n])) for n in network.inputs))
    return [np.asarray(result.detach().double().numpy()) for result in results]


def _alike(given: NDArray, wanted: NDArray) -> bool:
    if given.shape != wanted.shape:
        return False
    return bool(np.sum((given - wanted) ** 2) <= _TIPPED * np.sum(wanted**2))
