"""Recurrent layers in integers: what the probe tells is what the kernel computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import tvmcomp
from benchmarks.formats.recurrent import network
from tvmcomp import targets
from tvmcomp.api import build
from tvmcomp.frontend import load_model
from tvmcomp.passes.pipeline import canonical
from tvmcomp.quantize.config import QuantConfig
from tvmcomp.quantize.plan import plan_operators
from tvmcomp.quantize.probe import Probe
from tvmcomp.quantize.sqnr import sqnr_db

STEPS, BATCH, UNITS = 12, 2, 24


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    def of_kind(kind):
        path = tmp_path_factory.mktemp(kind) / "m.onnx"
        onnx.save(network(kind, STEPS, BATCH, UNITS), path)
        return path

    return {kind: of_kind(kind) for kind in ("LSTM", "GRU", "RNN")}


def samples(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((STEPS, BATCH, UNITS)).astype("float32") for _ in range(count)]


def outputs(artifact, x):
    with tvmcomp.load(artifact) as session:
        return next(iter(session.run({"x": x}).values()))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("quant", ["int8", "dynamic"])
def test_every_product_is_in_integers_and_close_to_float(kind, quant, model):
    calibration = {"calibration": [{"x": x} for x in samples(6)]} if quant == "int8" else {}
    settings = {"log": "none", "reference": False}
    artifact = build(model[kind], quant=quant, **calibration, **settings)
    heavy = [operator for operator in artifact.metadata.operators if operator.macs]
    assert len(heavy) == 4
    assert {operator.dtype for operator in heavy} == {"int8"}
    (x,) = samples(1, seed=9)
    want = outputs(build(model[kind], **settings), x)
    assert sqnr_db(want, outputs(artifact, x)) > 30


def test_one_is_kept_float_as_asked(model):
    config = QuantConfig(keep_float=("LSTM_0__tvmcomp_recurrent",))
    artifact = build(model["LSTM"], quant="dynamic", config=config, log="none", reference=False)
    kept = {o.name: o.reason for o in artifact.metadata.operators if o.kind == "tvmcomp.recurrent"}
    assert list(kept.values()) == ["kept in float as asked", None]


def test_the_probe_rounds_as_the_kernel_does(model):
    mod = canonical(load_model(model["LSTM"], {}).mod)
    operators = [op for op in plan_operators(mod) if op.is_recurrent]
    assert [op.rounds for op in operators] == [True, True]
    probe = Probe(mod, operators, targets.detect())
    (x,) = samples(1)
    plain = [array.copy() for array in probe.run([x])[0]]
    both = probe.run([x], {}, {op.name for op in operators})[0]
    config = QuantConfig(keep_float=("matmul",))
    artifact = build(model["LSTM"], quant="dynamic", config=config, log="none", reference=False)
    np.testing.assert_allclose(both[0], outputs(artifact, x), rtol=0, atol=1e-5)
    assert sqnr_db(plain[0], both[0]) > 30
    assert not np.array_equal(plain[0], both[0])
