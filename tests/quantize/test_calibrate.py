"""Calibration: each tensor's range from the samples, by the observer that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, uniform

from tvmcomp import targets
from tvmcomp.errors import CalibrationError
from tvmcomp.passes.rewriter import const
from tvmcomp.qparams import activation_qparams
from tvmcomp.quantize.calibrate import calibrate
from tvmcomp.quantize.config import OperatorConfig, QuantConfig
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.probe import Probe

W = uniform(np.random.default_rng(0), 4, 4)


@pytest.fixture(scope="module")
def probe():
    def network(emit, x):
        logarithm = emit(relax.op.log(x), "log")
        return [emit(relax.op.matmul(logarithm, const(W)), "m")]

    mod = module(network, x=(2, 4))
    return Probe(mod, plan_operators(mod), targets.detect())


def test_min_max_of_all_samples(probe):
    samples = [[np.full((2, 4), value, np.float32)] for value in (1.0, 0.25, 8.0)]
    steps = []
    found = calibrate(probe, samples, QuantConfig(observer="minmax"), lambda: steps.append(1))
    (params,) = found.values()
    assert [var.name for var in found] == ["log"]
    expected = activation_qparams(np.log(0.25), np.log(8.0), "uint8")
    np.testing.assert_allclose(params.scale, expected.scale, rtol=1e-6)
    assert int(params.zero_point) == int(expected.zero_point)
    assert len(steps) == 3


def test_an_operator_has_its_own_observer(probe):
    rng = np.random.default_rng(0)
    samples = [[np.exp(rng.standard_t(2, (2, 4))).astype(np.float32)] for _ in range(60)]
    everything = calibrate(probe, samples, QuantConfig(observer="minmax"))
    rule = QuantConfig(observer="minmax", operators={"m": OperatorConfig(observer="entropy")})
    saturated = calibrate(probe, samples, rule)
    (wide,), (narrow,) = everything.values(), saturated.values()
    assert float(narrow.scale) < float(wide.scale)


def test_nan_in_the_network_is_an_error_that_names_the_tensor(probe):
    with pytest.raises(CalibrationError) as caught:
        calibrate(probe, [[np.full((2, 4), -1.0, np.float32)]], QuantConfig())
    assert "'log'" in str(caught.value)
    assert caught.value.hint
