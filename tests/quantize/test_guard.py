"""The accuracy guard keeps in float what harms the outputs, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, uniform

from tvmcomp import targets
from tvmcomp.passes.rewriter import const
from tvmcomp.progress import NoProgress
from tvmcomp.quantize.calibrate import calibrate
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.guard import Guard
from tvmcomp.quantize.output_noise import OutputNoise
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.sqnr import sqnr_db

RNG = np.random.default_rng(0)
#: What ``bad`` reads has one column a thousand times the others, and gives it no weight: in 8 bits
#: a tensor, nothing is left of what counts.
BAD = np.concatenate([np.zeros((1, 4)), RNG.uniform(-1, 1, (5, 4))]).astype(np.float32)
GOOD, LAST = uniform(RNG, 6, 4), uniform(RNG, 4, 3)


def network(emit, x, outlier):
    good = emit(relax.op.matmul(x, const(GOOD)), "good")
    bad = emit(relax.op.matmul(outlier, const(BAD)), "bad")
    mixed = emit(relax.op.nn.softmax(emit(relax.op.add(good, bad), "sum")), "mixed")
    return [emit(relax.op.matmul(mixed, const(LAST)), "last")]


class Untold(NoProgress):
    def stage(self, name, total=None):
        pytest.fail(name)


class Counting(NoProgress):
    """Checks that no stage has more steps than were said."""

    def __init__(self):
        self.stages = []

    def stage(self, name, total=None):
        self.stages.append(name)
        left = [total]

        def step():
            left[0] -= 1
            assert left[0] >= 0, name

        return step


@pytest.fixture(scope="module")
def guard():
    mod = module(network, x=(8, 6), outlier=(8, 6))
    probe = Probe(mod, plan_operators(mod), targets.detect())
    samples = []
    for _ in range(6):
        outlier = uniform(RNG, 8, 6)
        outlier[:, 0] *= 1000
        samples.append([uniform(RNG, 8, 6), outlier])
    qparams = calibrate(probe, samples, QuantConfig(observer="minmax"))

    def quantized_without(keep):
        return {op.name for op in plan_operators(mod, keep_float=keep) if op.rounds}

    noise = OutputNoise(probe, samples)
    limits = {"rankings": 50, "looks": 24, "retrials": 200}
    return Guard(probe, qparams, noise, samples, quantized_without, **limits)


def test_exactly_the_harmful_operator_is_kept(guard):
    result = guard.choose(20.0, NoProgress())
    assert result.keep_float == ("bad",)
    assert result.weight_only == ("bad",)  # Its activations did the harm.
    assert result.all_quantized_db < 10
    assert result.sqnr_db > 25
    assert min(result.alone_db, key=result.alone_db.get) == "bad"
    assert set(result.alone_db) == {"good", "bad", "last"}


def test_off_keeps_none_and_measures_no_operator(guard):
    result = guard.choose(None, Untold())
    assert result.keep_float == ()
    assert result.alone_db == {}
    assert result.sqnr_db == result.all_quantized_db


def test_a_ratio_that_is_met_keeps_none(guard):
    reached = guard.network_sqnr(guard.names)
    assert guard.choose(reached, Untold()).keep_float == ()


def test_a_ratio_that_integers_never_meet_keeps_everything(guard):
    result = guard.choose(150.0, NoProgress())
    assert set(result.keep_float) == {"good", "bad", "last"}
    assert result.weight_only == ()
    assert result.sqnr_db == float("inf")


def test_each_search_says_how_long_it_may_be(guard):
    for least in (20.0, 150.0):
        progress = Counting()
        guard.choose(least, progress)
        assert {"finding what harms", "choosing what stays float"} <= set(progress.stages)


def test_the_ratio_of_what_each_operator_ends_in(guard):
    own = guard.operator_sqnr({"good", "last"})
    assert set(own) == {"good", "bad", "sum", "mixed", "last"}
    assert own["good"] == own["sum"] == own["mixed"] > 30
    assert guard.operator_sqnr({"bad"})["mixed"] < 10
    assert guard.operator_sqnr(()) == {name: float("inf") for name in own}


def test_what_is_too_noisy_shows_before_all_samples_have_run(guard):
    noise = OutputNoise(guard.probe, guard.held_out.samples)
    for on in ({"bad"}, {"good"}, {"good", "last"}, set()):
        ratio = noise.sqnr_db(guard.qparams, on)
        for least in (5.0, 20.0, 30.0, 40.0, 60.0):
            assert noise.reaches(least, guard.qparams, on) == (ratio >= least)
    before = noise.runs
    assert not noise.reaches(60.0, guard.qparams, {"bad"})
    assert noise.runs == before + 1


@pytest.mark.parametrize(
    ("reference", "actual", "expected"),
    [
        ([1, -1], [1, -1], float("inf")),
        ([1, -1], [1.1, -0.9], 20),
        ([101, 99], [101.1, 99.1], 20),  # A constant offset is no signal.
        ([5, 5], [5.5, 5.5], 20),  # Unless it is all there is.
        ([0, 0], [1, 1], float("-inf")),
        ([1, np.inf], [1, np.inf], float("inf")),
        ([1, np.inf], [1, 2], float("-inf")),
        ([1, 2], [1, np.nan], float("-inf")),
        ([], [], float("inf")),
    ],
)
def test_the_ratio(reference, actual, expected):
    actual_db = sqnr_db(np.float64(reference), np.float64(actual))
    assert actual_db == pytest.approx(expected, abs=1e-6)
