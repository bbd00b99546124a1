"""The technique ``quantize``: options to what :mod:`tvmcomp.compress.fake_quantize` is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from needed import package
from networks import NetworkWriter, classifier, images

package("torch", "compress")

import onnxruntime  # noqa: E402

import tvmcomp  # noqa: E402
from tvmcomp.errors import ConfigError  # noqa: E402

FLOAT, INT8, INT4 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.INT4


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx")


@pytest.fixture
def samples() -> list[dict[str, np.ndarray]]:
    return [{"x": each[None]} for each in images(60, 3, 16, 16)]


def quantized(model, samples, **options):
    options = {"measure": False, "max_drop": 100, **options}
    return tvmcomp.compress(model, None, samples, **options)


def weights(model: onnx.ModelProto) -> dict[str, int]:
    """Node that multiplies by a dequantized constant -> that constant's type."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    made = {
        node.output[0]: types[node.input[0]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in types
    }
    return {
        n.name: made[n.input[1]] for n in model.graph.node if n.input[1:2] and n.input[1] in made
    }


def test_int8_keeps_what_the_network_gives(model, samples):
    result = quantized(model, samples, quant="int8", metric="sqnr", max_drop=1.0)
    assert result.accepted and set(weights(result.model).values()) == {INT8}
    assert result.proof.steps[0].options["quant"] == "int8"
    session = onnxruntime.InferenceSession(result.model.SerializeToString())
    whole = onnxruntime.InferenceSession(model)
    for sample in samples[:5]:
        (given,), (wanted,) = session.run(None, sample), whole.run(None, sample)
        assert np.abs(given - wanted).max() < 0.1 * np.ptp(wanted)


def test_bits_by_option_and_by_operator(model, samples):
    few = weights(quantized(model, samples, bits=4).model)
    assert INT4 in few.values()
    rules = {"Conv": {"bits": 8}, "y": {"bits": 3}}
    step = {"name": "quantize", "bits": 4, "operators": rules}
    chosen = weights(quantized(model, samples, recipe=[step]).model)
    assert chosen["y"] == INT4 and Counter(chosen.values()) == {INT8: len(chosen) - 1, INT4: 1}


def test_what_is_to_stay_float_does(model, samples):
    for options in (
        {"bits": 8, "keep_float": ("Conv",)},
        {"recipe": [{"name": "quantize", "operators": {"conv_*": {"dtype": "float"}}}]},
    ):
        result = quantized(model, samples, **options)
        assert set(weights(result.model)) == {"y"}
    with pytest.raises(ConfigError, match="'nothing_like_it'"):
        quantized(model, samples, bits=8, keep_float=("nothing_like_it",))


def test_two_goals_are_refused(model, samples):
    with pytest.raises(ConfigError, match="bits and size are two goals"):
        quantized(model, samples, recipe=[{"name": "quantize", "bits": 4, "size": 1000}])


def test_what_is_quantized_already_and_what_has_no_weights_is_refused(model, samples, tmp_path):
    once = quantized(model, samples, quant="int8").model
    with pytest.raises(ConfigError, match="quantize: the network is quantized already"):
        quantized(once, samples, bits=4)
    assert not [s for s in tvmcomp.compress(once).suggestions if "--bits" in s.options]
    net = NetworkWriter()
    net.op("Relu", "x", name="y")
    empty = net.save(tmp_path / "relu.onnx", {"x": (1, 3, 16, 16)}, ["y"])
    with pytest.raises(ConfigError, match="no weights"):
        quantized(empty, samples, quant="int8")


def test_it_says_what_it_would_do(model):
    suggestions = {each.options: each.why for each in tvmcomp.compress(model).suggestions}
    # 16*3*3*3 + 16*3*3 + 32*16 + 10*32 weights
    assert "1,408 weights" in suggestions["--bits 4"] and "--quant int8" in suggestions
