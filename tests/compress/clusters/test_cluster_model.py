"""Networks of few values: ONNX Runtime gives what torch computes, and it is built."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

pytest.importorskip("torch")

import torch
from precise_onnxruntime import plain_onnxruntime

import tvmcomp
from tests.compress.fake_quantize.rounded_networks import node, normal, prepared, samples_of
from tvmcomp.compress.clusters.cluster_model import cluster_model
from tvmcomp.compress.clusters.settings import ClusterSettings
from tvmcomp.compress.fake_quantize import FakeQuantizeOptions, finish, quantize_model
from tvmcomp.compress.network import TrainableNetwork
from tvmcomp.compress.samples import divide
from tvmcomp.errors import ConfigError
from tvmcomp.progress import NoProgress


def network():
    """Convolutions, plain, grouped and transposed, then products and a recurrent layer."""
    weights = {
        "w0": normal(16, 3, 3, 3, scale=0.3), "b0": normal(16),
        "w1": normal(16, 4, 3, 3, seed=1, scale=0.3),
        "w2": normal(16, 12, 2, 2, seed=2, scale=0.3), "b2": normal(12),
        "w3": normal(96, 64, seed=3, scale=0.1), "b3": normal(64),
        "w4": normal(1, 64, 64, seed=4, scale=0.2), "r4": normal(1, 64, 16, seed=5, scale=0.2),
        "w5": normal(16, 20, seed=6),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], "first", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c0"], ["a0"], "relu"),
        node("Conv", ["a0", "w1"], ["c1"], "grouped", pads=[1, 1, 1, 1], group=4),
        node("ConvTranspose", ["c1", "w2", "b2"], ["c2"], "up", strides=[2, 2]),
        node("Reshape", ["c2", "shape"], ["rows"], "rows"),
        node("MatMul", ["rows", "w3"], ["m"], "product"),
        node("Add", ["m", "b3"], ["p"], "bias"),
        node("LSTM", ["p", "w4", "r4"], ["s"], "layer", hidden_size=16),
        node("Reshape", ["s", "shape2"], ["flat"], "flat"),
        node("MatMul", ["flat", "w5"], ["y"], "head"),
    ]
    weights |= {"shape": np.array([8, 1, 96]), "shape2": np.array([8, 16])}
    return prepared(nodes, {"x": [1, 3, 8, 8]}, ["y"], weights)


MODEL = network()
PARTS = divide(samples_of(MODEL, 60), 0)


def clustered(settings=None, quantized=False):
    model = MODEL
    if quantized:
        options = FakeQuantizeOptions(rounding="nearest")
        model = quantize_model(model, PARTS, options, NoProgress()).model
    settings = settings or ClusterSettings(16, {"*": 16})
    return cluster_model(model, PARTS, settings, NoProgress())


def outputs(model, sample):
    session = plain_onnxruntime(model.SerializeToString())
    return session.run(None, dict(sample))[0]


@pytest.mark.parametrize("quantized", [False, True])
def test_onnx_runtime_gives_what_is_trained_and_the_weights_are_few(quantized: bool) -> None:
    model, notes = clustered(quantized=quantized)
    assert "7 weights of" in notes[0]
    written = finish(model)
    kinds = [each.op_type for each in written.graph.node]
    assert "Cluster" not in kinds and kinds.count("Gather") == 7
    constants = {tensor.name: tensor for tensor in written.graph.initializer}
    for each in written.graph.node:
        if each.op_type == "Gather":
            book = numpy_helper.to_array(constants[each.input[0]])
            assert len(book) <= 16 and book.dtype == (np.int8 if quantized else np.float32)
        if each.op_type == "Cast":
            assert constants[each.input[0]].data_type == TensorProto.UINT4
    sample = PARTS.judge[0]
    with torch.no_grad():
        (ours,) = TrainableNetwork(model)(torch.from_numpy(sample["x"]))
    given = outputs(written, sample)
    error = np.abs(given - ours.numpy()).max()
    # Where an integer is near the border, ONNX Runtime may round it to the next.
    assert error < (0.1 if quantized else 1e-4) * np.abs(given).max()


@pytest.mark.parametrize("quantized", [False, True])
def test_it_is_built_and_the_file_holds_the_codes(quantized: bool) -> None:
    written = finish(clustered(quantized=quantized)[0])
    artifact = tvmcomp.build(written, reference=False, log="none")
    sample = PARTS.judge[0]
    with tvmcomp.load(artifact, threads=1) as session:
        (found,) = session.run(dict(sample)).values()
    wanted = outputs(written, sample)
    assert np.abs(found - wanted).max() < (0.1 if quantized else 1e-4) * np.abs(wanted).max()
    if quantized:
        assert any(each.dtype == "int8" for each in artifact.metadata.operators)
    weights = sum(t.size for t in map(numpy_helper.to_array, MODEL.graph.initializer) if t.ndim > 1)
    assert artifact.small().constants_nbytes_in_file < weights  # about half a byte each, and biases


def test_means_that_are_lost_are_in_the_bias() -> None:
    written = finish(clustered(ClusterSettings(4, {"*": 4}))[0])
    data = [*PARTS.fit, *PARTS.judge]
    error = np.mean([outputs(written, s) - outputs(MODEL, s) for s in data])
    spread = np.std([outputs(MODEL, s) for s in data])
    assert abs(error) < 0.1 * spread


def test_more_values_come_closer() -> None:
    losses = []
    for count in (4, 16, 64):
        written = finish(clustered(ClusterSettings(count, {"*": count}))[0])
        losses.append(
            np.mean([np.square(outputs(written, s) - outputs(MODEL, s)) for s in PARTS.judge])
        )
    assert losses[0] > 4 * losses[1] > 16 * losses[2]


def test_gradients_move_the_values_of_the_book() -> None:
    trained = TrainableNetwork(clustered()[0])
    (y,) = trained(torch.from_numpy(PARTS.judge[0]["x"]))
    y.square().sum().backward()
    books = [w for name, w in trained.weights().items() if name.endswith("_book")]
    assert len(books) == 7 and all(bool(w.grad.any()) for w in books)


def test_rules_by_operator() -> None:
    _, notes = clustered(ClusterSettings(16, {"*": 0, "product": 8}))
    assert notes[0].startswith("1 weights of 8 to 8 values")
    with pytest.raises(ConfigError, match="matches 'absent'"):
        clustered(ClusterSettings(16, {"absent": 3}))


def test_what_is_harmed_most_takes_more_values() -> None:
    _, notes = clustered(ClusterSettings(16))
    assert "of 16 to 16 values" not in notes[0]
