"""An open batch: kept where two samples at once give what each gives, and closed elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from needed import package
from networks import NetworkWriter

package("torch", "compress")

import onnxruntime  # noqa: E402

from tvmcomp.compress.open_batch import batch_inputs, with_open_batch  # noqa: E402
from tvmcomp.compress.original import read_original  # noqa: E402


def opened(path: Path, samples, **dims):
    original = read_original(path, dims=dims or {"N": 1})
    return with_open_batch(original.prepared, original.model.graph, samples)


def samples_of(*shape: int, name: str = "x"):
    rng = np.random.default_rng(0)
    return [{name: rng.normal(size=shape).astype("float32")} for _ in range(3)]


def run(model: onnx.ModelProto, **inputs):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)


def names(model: onnx.ModelProto) -> list[str]:
    values = (*model.graph.input, *model.graph.output)
    return [value.type.tensor_type.shape.dim[0].dim_param for value in values]


@pytest.fixture
def net() -> NetworkWriter:
    return NetworkWriter()


def test_a_shape_that_says_the_batch_copies_it(net, tmp_path):
    # The shape is computed from the batch, and folded to [1, 12].
    shape = net.op("Shape", "x")
    first = net.op("Gather", shape, net.constant(np.array([0])), axis=0)
    sizes = net.op("Concat", first, net.constant(np.array([12])), axis=0)
    net.op("MatMul", net.op("Reshape", "x", sizes), net.weight(12, 4), name="y")
    path = net.save(tmp_path / "net.onnx", {"x": ("N", 3, 4)}, ["y"])
    samples = samples_of(1, 3, 4)
    model = opened(path, samples)
    assert names(model) == ["N", "N"]
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read
    together = np.concatenate([sample["x"] for sample in samples])
    (given,), (wanted,) = run(model, x=together), run(onnx.load(path), x=together)
    np.testing.assert_allclose(given, wanted, rtol=1e-5)
    (one,) = run(model, x=samples[0]["x"])
    np.testing.assert_allclose(one, wanted[:1], rtol=1e-5)


def test_what_does_not_depend_on_the_batch_stays_as_it_is(net, tmp_path):
    net.op("Relu", "x", name="y")
    weight = net.weight(1, 5)
    net.op("Abs", weight, name="z")
    path = net.save(tmp_path / "net.onnx", {"x": ("N", 5)}, ["y", "z"])
    assert names(opened(path, samples_of(1, 5))) == ["N", "N", ""]


def test_what_mixes_samples_stays_closed(net, tmp_path):
    net.op("Softmax", "x", axis=0, name="y")
    path = net.save(tmp_path / "net.onnx", {"x": ("N", 5)}, ["y"])
    assert opened(path, samples_of(1, 5)) is None


def test_what_is_made_for_one_sample_stays_closed(net, tmp_path):
    token = net.weight(1, 1, 5)
    net.op("Concat", token, "x", axis=1, name="y")
    path = net.save(tmp_path / "net.onnx", {"x": ("N", 3, 5)}, ["y"])
    assert opened(path, samples_of(1, 3, 5)) is None


def test_one_sample_is_not_enough_to_tell(net, tmp_path):
    net.op("Relu", "x", name="y")
    path = net.save(tmp_path / "net.onnx", {"x": ("N", 5)}, ["y"])
    assert opened(path, samples_of(1, 5)[:1]) is None


def test_which_inputs_have_an_open_batch(net, tmp_path):
    net.op("Add", "x", "z", name="y")
    graph = onnx.load(net.save(tmp_path / "a.onnx", {"x": ("N", 5), "z": (1, 5)}, ["y"])).graph
    assert batch_inputs(graph) == ["x"]
    graph.input[1].type.tensor_type.shape.dim[0].dim_value = -1  # as Paddle writes it
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = ""
    assert batch_inputs(graph) == ["x", "z"]
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    assert batch_inputs(graph) == []  # it can't be told whether they mean the same
