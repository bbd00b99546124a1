"""The probe: the float network with all switches off, fake quantization in numpy with some on."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, run_plain, uniform

from tvmcomp import targets
from tvmcomp.passes.rewriter import const
from tvmcomp.qparams import activation_qparams, dequantize, quantize, weight_qparams
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.probe import Probe

RNG = np.random.default_rng(0)
W1, W2 = uniform(RNG, 6, 8), uniform(RNG, 8, 3)
X = uniform(RNG, 4, 6)


def network(emit, x):
    return network_of(emit, x, W1, W2)


def network_of(emit, x, w1, w2):
    hidden = emit(relax.op.nn.relu(emit(relax.op.matmul(x, const(w1)), "m1")), "r")
    return [emit(relax.op.matmul(hidden, const(w2)), "m2"), hidden]


@pytest.fixture(scope="module")
def mod():
    return module(network, x=X.shape)


@pytest.fixture(scope="module")
def probe(mod):
    return Probe(mod, plan_operators(mod), targets.detect())


@pytest.fixture(scope="module")
def qparams(probe):
    """min-max parameters of what the plan reads, by the tensor's name."""
    _, observed = probe.run([X])
    return {
        var: activation_qparams(float(array.min()), float(array.max()), "uint8")
        for var, array in observed.items()
    }


def rounded(values, qparams, name):
    params = next(params for var, params in qparams.items() if var.name == name)
    return dequantize(quantize(values, params), params)


def rounded_weight(weight):
    params = weight_qparams(weight, 1)
    return dequantize(quantize(weight, params), params)


def test_all_switches_off_is_the_float_network(mod, probe, qparams):
    for given in (None, qparams):
        outputs, _ = probe.run([X], given)
        for actual, expected in zip(outputs, run_plain(mod, X), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_it_shows_what_the_plan_reads(probe):
    _, observed = probe.run([X])
    shown = {var.name: array for var, array in observed.items()}
    assert {"x", "m1", "r", "m2"} >= set(shown) >= {"x", "r"}
    np.testing.assert_array_equal(shown["x"], X)
    np.testing.assert_allclose(shown["r"], np.maximum(X @ W1, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("on", [("m1",), ("m2",), ("m1", "m2")])
def test_a_switch_rounds_data_and_weight_of_its_operator(probe, qparams, on):
    outputs, _ = probe.run([X], qparams, on)
    x, w1, w2 = X, W1, W2
    if "m1" in on:
        x, w1 = rounded(X, qparams, "x"), rounded_weight(W1)
    hidden = np.maximum(x @ w1, 0)
    seen = hidden
    if "m2" in on:
        seen, w2 = rounded(hidden, qparams, "r"), rounded_weight(W2)
    np.testing.assert_allclose(outputs[1], hidden, rtol=1e-5, atol=1e-5)
    # A value at the border of two steps may round either way: by a step of the hidden layer.
    params = next(params for var, params in qparams.items() if var.name == "r")
    limit = float(params.scale) * np.abs(w2).max() if "m1" in on else 1e-5
    np.testing.assert_allclose(outputs[0], seen @ w2, atol=limit)


def test_a_run_leaves_no_trace_in_the_next(probe, qparams):
    before = probe.run([X])[0][0].copy()
    probe.run([X], qparams, ("m1", "m2"))
    np.testing.assert_array_equal(probe.run([X])[0][0], before)


def test_other_weights_run_by_the_same_machine_code(mod, probe):
    other = module(lambda emit, x: network_of(emit, x, 2 * W1, W2 / 2), x=X.shape)
    same = Probe(other, plan_operators(other), targets.detect(), probe)
    assert same._executable is probe._executable
    for actual, expected in zip(same.run([X])[0], run_plain(other, X), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_another_network_is_compiled_for_itself(probe):
    other = module(lambda emit, x: network_of(emit, x, W1[:, :4], W2[:4]), x=X.shape)
    own = Probe(other, plan_operators(other), targets.detect(), probe)
    assert own._executable is not probe._executable
    for actual, expected in zip(own.run([X])[0], run_plain(other, X), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
