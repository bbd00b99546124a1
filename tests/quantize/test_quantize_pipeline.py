"""The quantizer end to end: the integers that come out equal the same arithmetic in numpy."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from passes.relax_modules import module, operators, relax, run_plain, uniform, value_of

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.errors import ConfigError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.passes.integers.qdq import quantize_params
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.pipeline import canonical
from tvmcomp.passes.rewriter import const
from tvmcomp.progress import NoProgress
from tvmcomp.qparams import quantize, weight_qparams
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.imported import imported_operators
from tvmcomp.quantize.pipeline import quantize_network
from tvmcomp.quantize.sqnr import sqnr_db

HERE = targets.detect()
RNG = np.random.default_rng(0)
W1, W2, W3 = uniform(RNG, 10, 16), uniform(RNG, 16, 16), uniform(RNG, 16, 5)
B1 = uniform(RNG, 16)


def dense(emit, x):
    """Two layers with a residual between them, a table, and a last layer."""
    biased = emit(relax.op.add(emit(relax.op.matmul(x, const(W1)), "m1"), const(B1)), "b1")
    first = emit(relax.op.nn.relu(biased), "r1")
    added = emit(relax.op.add(emit(relax.op.matmul(first, const(W2)), "m2"), first), "s")
    squashed = emit(relax.op.sin(added), "t")
    return [emit(relax.op.matmul(squashed, const(W3)), "y")]


def image(emit, x):
    """Convolutions with groups, a pool, a concat and a mean, as a frontend gives it (NCHW)."""
    rng = np.random.default_rng(1)
    c1 = emit(relax.op.nn.conv2d(x, const(uniform(rng, 8, 3, 3, 3)), padding=1, strides=2), "c1")
    r1 = emit(relax.op.clip(emit(relax.op.add(c1, const(uniform(rng, 8, 1, 1))), "b"), 0, 6), "r1")
    d = emit(relax.op.nn.conv2d(r1, const(uniform(rng, 8, 1, 3, 3)), padding=1, groups=8), "d")
    g = emit(relax.op.nn.conv2d(r1, const(uniform(rng, 6, 4, 1, 1)), groups=2), "g")
    pooled = emit(
        relax.op.nn.max_pool2d(emit(relax.op.concat([d, g], 1), "cat"), (2, 2), (2, 2)), "p"
    )
    mean = emit(relax.op.mean(emit(relax.op.nn.silu(pooled), "a"), [2, 3]), "mean")
    return [emit(relax.op.matmul(mean, const(uniform(rng, 14, 5))), "y")]


def quantized(network, shape, **config):
    mod = canonical(module(network, x=shape))
    signature = Signature((TensorSpec("x", shape, "float32"),), (TensorSpec("y", (), "float32"),))
    rng = np.random.default_rng(2)
    samples = load_samples([{"x": uniform(rng, *shape)} for _ in range(12)], signature)
    settings = QuantConfig(**{"min_sqnr_db": None, **config})
    return mod, quantize_network(mod, signature, samples, settings, HERE, NoProgress())


@pytest.fixture(scope="module")
def dense_network():
    return quantized(dense, (8, 10))


@pytest.fixture(scope="module")
def image_network():
    return quantized(image, (1, 3, 12, 12))


def test_integers_equal_their_emulation_in_numpy(dense_network):
    _, result = dense_network
    x = uniform(np.random.default_rng(3), 8, 10)
    (actual,), _ = run_here(result.mod, HERE, [x])
    params = {
        name: quantize_params(value_of(result.mod, f"{name}_q")) for name in ("x", "r1", "s", "t")
    }

    def product(integers, name, weight):
        """int64 sums, as real numbers in float64."""
        weights = weight_qparams(weight, 1)
        data = integers.astype(np.int64) - int(params[name].zero_point)
        total = data @ quantize(weight, weights).astype(np.int64)
        return total * (weights.scale.astype(np.float64) * float(params[name].scale))

    def real(integers, name):
        return (integers.astype(np.int64) - int(params[name].zero_point)) * float(
            params[name].scale
        )

    x_q = quantize(x, params["x"])
    r1 = quantize(np.maximum(product(x_q, "x", W1) + B1, 0), params["r1"])
    s = quantize(product(r1, "r1", W2) + real(r1, "r1"), params["s"])
    t = quantize(np.sin(real(s, "s")), params["t"])
    expected = product(t, "t", W3)
    # A sum at the border of two steps may fall on either side of it.
    step = float(params["t"].scale) * np.abs(W3).max()
    assert np.abs(actual - expected).max() <= 2 * step
    assert np.mean(np.abs(actual - expected) < 1e-4) > 0.8


def test_every_anchor_runs_in_integers(image_network):
    mod, result = image_network
    realized = realize(result.mod, HERE)
    found = operators(realized)
    for name in ("c1", "d", "g"):
        assert value_of(realized, name).attrs.out_dtype == "int32"
    assert found.count("quantize") >= 1
    assert {op.name: op.dtype for op in result.operators if op.macs} == dict.fromkeys(
        ("c1", "d", "g", "y"), "int8"
    )
    x = uniform(np.random.default_rng(3), 1, 3, 12, 12)
    (actual,), _ = run_here(result.mod, HERE, [x])
    assert sqnr_db(run_plain(mod, x)[0], actual) > 20
    # Against the same network with Q/DQ in float.
    assert sqnr_db(run_plain(result.mod, x)[0], actual) > 35


@pytest.mark.parametrize("network", ["dense_network", "image_network"])
def test_an_s8_target_computes_the_same_integers(network, request):
    _, result = request.getfixturevalue(network)
    signed = targets.load("riscv64")
    assert signed.activation_dtype == "int8"
    shape = (8, 10) if network == "dense_network" else (1, 3, 12, 12)
    x = uniform(np.random.default_rng(3), *shape)
    (u8,), _ = run_here(result.mod, HERE, [x])
    # Realized for s8 it is plain Relax, which TVM's own kernels run here.
    (s8,) = run_plain(realize(result.mod, signed), x)
    np.testing.assert_allclose(s8, u8, rtol=1e-5, atol=1e-5)


def test_the_report_and_the_calibration(dense_network):
    _, result = dense_network
    report = {op.name: op for op in result.operators}
    assert report["m1"].dtype == "int8"
    assert report["m1"].macs == 8 * 10 * 16
    assert report["y"].sqnr_db > 20
    assert result.without_guard is None
    assert result.calibration["samples"] == 12
    assert result.calibration["kept_float"] == []
    assert result.calibration["min_sqnr_db"] is None
    assert result.calibration["sqnr_db"] == pytest.approx(report["y"].sqnr_db, abs=6)


def test_samples_that_are_left_out_are_noted(monkeypatch):
    monkeypatch.setattr("tvmcomp.quantize.effort._CALIBRATING_SAMPLES", (3, 3))
    _, result = quantized(dense, (8, 10), round="nearest")
    assert result.calibration["fitted_on"] == 3
    assert any("taken from 3 of the 9 samples" in note for note in result.notes)


def test_the_guard_keeps_what_the_ratio_asks_for():
    _, result = quantized(dense, (8, 10), min_sqnr_db=60.0)
    kept = result.calibration["kept_float"]
    assert kept
    assert result.without_guard is not None
    assert result.calibration["sqnr_db"] >= 60
    report = {op.name: op for op in result.operators}
    assert all("accuracy guard" in report[name].reason for name in kept)
    assert all(report[name].network_sqnr_db is not None for name in kept)
    assert "stay float" in result.notes[-1]


def test_the_configuration_keeps_what_it_names():
    _, result = quantized(dense, (8, 10), keep_float=("m2",))
    report = {op.name: op for op in result.operators}
    assert (report["m2"].dtype, report["m2"].reason) == ("float32", "kept in float as asked")
    assert report["m1"].dtype == "int8"


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(ConfigError, match="'m9'"):
        quantized(dense, (8, 10), keep_float=("m9",))


def test_a_quantized_model_lists_what_runs_in_integers(dense_network):
    _, result = dense_network
    # As the artifact stores it: TVM's names are no plain strings.
    stored = msgspec.json.decode(msgspec.json.encode(imported_operators(result.mod, HERE)))
    listed = {op["name"]: op for op in stored}
    assert {listed[name]["dtype"] for name in ("m1", "m2", "y")} == {"int8"}
    assert listed["m1"]["macs"] == 8 * 10 * 16
