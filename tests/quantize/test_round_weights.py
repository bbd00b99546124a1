"""Better integers for weights: on the samples' own statistics, chosen by measurement on others."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, uniform, value_of

from tvmcomp import targets
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.passes.rewriter import const, const_value
from tvmcomp.progress import NoProgress
from tvmcomp.quantize.best_rounding import NEAREST, best_rounding
from tvmcomp.quantize.calibrate import calibrate
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.data import load_samples
from tvmcomp.quantize.held_out import hold_out
from tvmcomp.quantize.output_noise import OutputNoise
from tvmcomp.quantize.pipeline import quantize_network
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.round_weights import affordable_rows, round_weights

HERE = targets.detect()
RNG = np.random.default_rng(0)
MIXING = uniform(RNG, 24, 24)  # inputs that depend on each other
CONV, BIAS, SMALL = uniform(RNG, 16, 3, 3, 6), uniform(RNG, 16), uniform(RNG, 16, 4)


def network(emit, x):
    image = emit(relax.op.reshape(x, (1, 4, 1, 6)), "image")
    attrs = {"padding": 1, "data_layout": "NHWC", "kernel_layout": "OHWI"}
    c = emit(relax.op.add(emit(relax.op.nn.conv2d(image, const(CONV), **attrs), "c"),
                          const(BIAS)), "b")  # fmt: skip
    mean = emit(relax.op.mean(emit(relax.op.nn.relu(c), "r"), [1, 2]), "mean")
    return [emit(relax.op.matmul(mean, const(SMALL)), "m")]


def sample(rng):
    return [(uniform(rng, 1, 24) @ MIXING).astype(np.float32)]


@pytest.fixture(scope="module")
def mod():
    return module(network, x=(1, 24))


@pytest.fixture
def probe(mod):
    return Probe(mod, plan_operators(mod), HERE)


@pytest.fixture
def samples():
    rng = np.random.default_rng(1)
    return [sample(rng) for _ in range(48)]


def mean_errors(probe, qparams, samples, name):
    """Of an operator's channels, with it alone quantized."""
    (operator,) = (op for op in probe.operators if op.name == name)
    total = 0.0
    for inputs in samples:
        wanted = probe.run(inputs)[1][operator.var].copy()
        given = probe.run(inputs, qparams, {name})[1][operator.var]
        total = total + (given - wanted).reshape(-1, wanted.shape[-1]).mean(axis=0) / len(samples)
    return np.abs(total)


def test_rounding_twice_gives_the_same_integers(probe, samples):
    qparams = calibrate(probe, samples, QuantConfig())
    first, second = (round_weights(probe, qparams, samples, NoProgress()) for _ in range(2))
    assert set(first) == {"c", "m"}
    for name, weight in first.items():
        np.testing.assert_array_equal(weight.codes, second[name].codes)
        np.testing.assert_array_equal(weight.correction, second[name].correction)


def test_corrections_take_the_mean_error_of_each_operator(samples):
    def with_the_convolution_as_output(emit, x):
        made = {}
        outputs = network(lambda value, name: made.setdefault(name, emit(value, name)), x)
        return [*outputs, made["c"]]

    mod = module(with_the_convolution_as_output, x=(1, 24))
    probe = Probe(mod, plan_operators(mod), HERE)
    qparams = calibrate(probe, samples, QuantConfig())
    before = {name: mean_errors(probe, qparams, samples, name) for name in ("c", "m")}
    probe.round_to(round_weights(probe, qparams, samples, NoProgress()))
    for name, errors in before.items():
        assert mean_errors(probe, qparams, samples, name).max() < 0.1 * errors.max()


def test_the_best_by_measurement_is_kept(probe, samples):
    qparams = calibrate(probe, samples, QuantConfig())
    on = {operator.name for operator in probe.operators if operator.rounds}
    noise = OutputNoise(probe, [sample(np.random.default_rng(2)) for _ in range(32)])
    nearest_db = noise.sqnr_db(qparams, on)
    found = best_rounding(probe, qparams, samples, noise, on, NoProgress())
    assert found.sqnr_db[NEAREST] == nearest_db
    assert found.best_db == max(found.sqnr_db.values()) == noise.sqnr_db(qparams, on)
    assert found.best_db > nearest_db  # On these inputs it is.


def quantized(mod, samples, **config):
    signature = Signature((TensorSpec("x", (1, 24), "float32"),), ())
    given = load_samples([{"x": inputs[0]} for inputs in samples], signature)
    settings = QuantConfig(**config)
    return quantize_network(mod, signature, given, settings, HERE, NoProgress())


def test_the_network_holds_the_integers_that_were_chosen(mod):
    rng = np.random.default_rng(4)
    samples = [sample(rng) for _ in range(160)]
    best = quantized(mod, samples, min_sqnr_db=None)
    nearest = quantized(mod, samples, min_sqnr_db=None, round="nearest")
    assert nearest.calibration["rounding"] == NEAREST != best.calibration["rounding"]
    assert best.calibration["sqnr_db"] > nearest.calibration["sqnr_db"]

    def codes(result):
        return const_value(value_of(result.mod, "c_weight").args[0])

    changed = codes(best).astype(int) - codes(nearest)
    assert 0 < np.abs(changed).max() <= 2
    again = quantized(mod, samples, min_sqnr_db=None)
    np.testing.assert_array_equal(codes(again), codes(best))


def test_the_guard_judges_by_samples_that_nothing_was_fitted_on(mod):
    """Those that ranges are fitted on are small: on them all is well, on the others integers
    saturate.
    """
    rng = np.random.default_rng(3)
    samples = [sample(rng) for _ in range(40)]
    fitted, _ = hold_out(range(40))
    misleading = [
        [inputs[0] * np.float32(0.1 if i in fitted else 1.0)] for i, inputs in enumerate(samples)
    ]
    probe = Probe(mod, plan_operators(mod), HERE)
    small = [misleading[i] for i in fitted]
    on = {operator.name for operator in probe.operators if operator.rounds}
    assert OutputNoise(probe, small).sqnr_db(calibrate(probe, small, QuantConfig()), on) > 25
    result = quantized(mod, misleading)
    assert result.calibration["held_out"] == 10
    assert result.calibration["all_quantized_sqnr_db"] < 10
    assert set(result.calibration["kept_float"]) == {"c", "m"}
    assert result.calibration["sqnr_db"] >= 20


def test_few_samples_are_noted(mod, samples):
    result = quantized(mod, samples[:5])
    assert result.calibration["held_out"] == 0
    assert any("too few to hold some out" in note for note in result.notes)
    assert not any("too few" in note for note in quantized(mod, samples[:8]).notes)


def test_rows_are_as_many_as_the_time_allows() -> None:
    few = affordable_rows({"small": (1, 64, 576), "depthwise": (96, 1, 9)})
    assert few == {"small": 1152, "depthwise": 1024}
    resnet = affordable_rows({str(i): (1, 512, 4608) for i in range(3)})
    assert set(resnet) == {"0", "1", "2"} and 1024 <= resnet["0"] < 8192
    wide = affordable_rows({"vgg": (1, 4096, 25088), "small": (1, 64, 576)})
    assert set(wide) == {"small"}
    assert affordable_rows({}) == {}
