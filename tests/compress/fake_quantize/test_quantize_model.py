"""A fake-quantized network, fitted and written out, is the same in ONNX Runtime and compiled."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from precise_onnxruntime import plain_onnxruntime
from rounded_networks import RandomNetwork, node, normal, prepared, samples_of

torch = pytest.importorskip("torch")

import tvmcomp  # noqa: E402
from tvmcomp.compress.fake_quantize import (  # noqa: E402
    FakeQuantizeOptions,
    finish,
    quantize_model,
)
from tvmcomp.compress.network import TrainableNetwork  # noqa: E402
from tvmcomp.compress.samples import Parts  # noqa: E402
from tvmcomp.errors import CalibrationError, ConfigError  # noqa: E402
from tvmcomp.progress import NoProgress  # noqa: E402


def parts_of(model, fit=24, watch=8):
    samples = samples_of(model, fit + watch)
    return Parts(samples[:fit], samples[fit:], [])


def quantized(model, parts=None, **options):
    parts = parts or parts_of(model)
    return quantize_model(model, parts, FakeQuantizeOptions(**options), NoProgress())


def in_torch(model, samples):
    network = TrainableNetwork(model)
    with torch.no_grad():
        runs = [network(*(torch.from_numpy(s[n]) for n in network.inputs)) for s in samples]
    return np.stack([run[0].numpy() for run in runs])


def in_onnxruntime(model, samples):
    session = plain_onnxruntime(model.SerializeToString())
    return np.stack([session.run(None, sample)[0] for sample in samples])


def compiled(model, samples):
    name = model.graph.output[0].name
    with tvmcomp.load(tvmcomp.build(model, reference=False), threads=1) as session:
        return np.stack([session.run(sample)[name] for sample in samples])


def assert_within_a_step(got, want, share=0.001):
    """Of 255 steps in the outputs' range; all but a share of the elements, which two steps hold."""
    step = np.ptp(want) / 255
    error = np.abs(got - want)
    assert np.mean(error > step) <= share, (error.max() / step, np.mean(error > step))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("bits", [4, 8])
def test_what_is_written_out_is_what_torch_computes(seed, bits):
    model = RandomNetwork(seed).model
    result = quantized(model, bits=bits)
    written = finish(result.model)
    onnx.checker.check_model(written)
    samples = samples_of(model, 16, seed=1)
    assert_within_a_step(in_onnxruntime(written, samples), in_torch(result.model, samples))


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(s, marks=pytest.mark.slow) for s in range(3, 30))]
)
def test_the_compiled_network_is_what_torch_computes(seed):
    model = RandomNetwork(seed).model
    result = quantized(model, bits=4)
    samples = samples_of(model, 16, seed=1)
    assert_within_a_step(compiled(finish(result.model), samples), in_torch(result.model, samples))


def small(weight=None, bias=None, **kinds):
    weights = {"w": normal(6, 3, 3, 3, scale=0.2) if weight is None else weight}
    inputs = ["x", "w"]
    if bias is not None:
        weights["b"] = bias
        inputs.append("b")
    weights["m"] = normal(6, 5, seed=1, scale=0.4)
    nodes = [
        node("Conv", inputs, ["c"], "conv"),
        node("Relu", ["c"], ["r"], "relu"),
        node("GlobalAveragePool", ["r"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("MatMul", ["f", "m"], ["y"], "product"),
    ]
    return prepared(nodes, {"x": (1, 3, 6, 6)}, ["y"], weights, **kinds)


def test_weights_of_four_bits_are_stored_as_int4():
    written = finish(quantized(small(), weight_bits={"*": 4}).model)
    types = {tensor.name: tensor.data_type for tensor in written.graph.initializer}
    assert types["w_codes"] == types["m_codes"] == TensorProto.INT4
    (codes,) = [t for t in written.graph.initializer if t.name == "w_codes"]
    values = numpy_helper.to_array(codes).astype("int8")
    assert values.shape == (6, 3, 3, 3)
    assert np.abs(values).max() == 7


def test_an_old_operator_set_becomes_a_newer_one():
    written = finish(quantized(small(opset=11), weight_bits={"*": 4}).model)
    samples = samples_of(written, 4)
    assert {each.version for each in written.opset_import} == {21}
    assert in_onnxruntime(written, samples).shape == (4, 1, 5)


def test_gptq_is_nearer_to_the_teacher_than_the_nearest_codes():
    model = RandomNetwork(5).model
    samples = samples_of(model, 64, seed=2)
    wanted = in_torch(model, samples)
    errors = {
        rounding: np.square(
            in_torch(quantized(model, bits=3, rounding=rounding).model, samples) - wanted
        ).mean()
        for rounding in ("nearest", "gptq")
    }
    assert errors["gptq"] < 0.5 * errors["nearest"]


def test_fitted_weights_lie_on_their_grid():
    """So that nearest rounding finds the codes again, where training starts."""
    result = quantized(small(), weight_bits={"*": 3}).model
    arrays = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer}
    codes = arrays["w"] / arrays["w_scale"].reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-5)
    assert set(np.unique(np.rint(codes))) <= set(range(-3, 4))


def test_a_size_is_kept():
    model = RandomNetwork(2).model
    whole = sum(
        numpy_helper.to_array(tensor).size
        for tensor in model.graph.initializer
        if len(tensor.dims) > 1
    )
    result = quantized(model, size=whole // 2)
    assert set(result.bits.values()) <= {8, 6, 5, 4, 3}
    assert min(result.bits.values()) < 8
    with pytest.raises(ConfigError, match="even with the fewest bits"):
        quantized(model, size=1)


def test_a_drop_of_all_leaves_the_fewest_bits_and_of_nothing_the_most():
    model = small()
    assert set(quantized(model, drop=100.0).bits.values()) == {3}
    assert min(quantized(model, drop=0.0).bits.values()) >= 3


def test_the_same_samples_give_the_same_network():
    model = RandomNetwork(3).model
    first, second = (quantized(model, bits=4).model.SerializeToString() for _ in range(2))
    assert first == second


def test_patterns_choose_bits_and_what_stays_float():
    result = quantized(small(), bits=4, keep_float=("conv",), weight_bits={"MatMul": 6})
    assert result.bits == {"m": 6}
    with pytest.raises(ConfigError, match="matches 'cnov'"):
        quantized(small(), keep_float=("cnov",))


def test_a_network_without_weights_is_left_as_it_is():
    model = prepared([node("Relu", ["x"], ["y"], "relu")], {"x": (1, 4)}, ["y"], {})
    result = quantized(model)
    assert not result.bits
    assert finish(result.model).graph.node[0].op_type == "Relu"


def test_constant_inputs_and_dead_channels_are_no_trouble():
    weight = normal(6, 3, 3, 3)
    weight[2] = 0
    model = small(weight, np.zeros(6, "f4"))
    samples = [{"x": np.zeros((1, 3, 6, 6), "f4")}] * 4
    result = quantized(model, Parts(samples, samples, []), bits=4)
    others = samples_of(model, 4)
    assert np.isfinite(in_torch(result.model, others)).all()
    assert_within_a_step(
        in_onnxruntime(finish(result.model), others), in_torch(result.model, others)
    )


def test_nan_in_the_samples_is_told_with_the_tensor():
    model = small()
    samples = samples_of(model, 4)
    samples[2]["x"][0, 0, 0, 0] = np.nan
    with pytest.raises(CalibrationError, match="the tensor 'x'"):
        quantized(model, Parts(samples, samples, []))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(("direction", "directions"), [("forward", 1), ("bidirectional", 2)])
def test_a_recurrent_layer_and_an_embedding_are_written_out(kind, direction, directions):
    rows = {"LSTM": 12, "GRU": 9, "RNN": 3}[kind]
    weights = {
        "table": normal(20, 16),
        "wi": normal(directions, rows, 16, scale=0.3),
        "wr": normal(directions, rows, 3, scale=0.3),
    }
    nodes = [
        node("Gather", ["table", "i"], ["e"], "embed"),
        node(kind, ["e", "wi", "wr"], ["y"], "layer", hidden_size=3, direction=direction),
    ]
    model = prepared(nodes, {"i": (7, 1)}, ["y"], weights, types={"i": TensorProto.INT64})
    rng = np.random.default_rng(0)
    samples = [{"i": rng.integers(0, 20, (7, 1))} for _ in range(8)]
    result = quantized(model, Parts(samples, samples, []), bits=4)
    assert set(result.bits) == {"table", "wi", "wr"}
    written = finish(result.model)
    onnx.checker.check_model(written)
    wanted = in_torch(result.model, samples)
    assert_within_a_step(compiled(written, samples), wanted)
    # In ONNX Runtime the state is not rounded.
    assert np.abs(in_onnxruntime(written, samples) - wanted).max() < 0.02
