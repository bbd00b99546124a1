"""Operators whose 8-bit activations do harm stay float; those that do none are rounded."""

from __future__ import annotations

import numpy as np
import pytest
from rounded_networks import node, normal, prepared

pytest.importorskip("torch")

from tvmcomp.compress.batched import BatchedNetwork
from tvmcomp.compress.fake_quantize import FakeQuantizeOptions, quantize_model
from tvmcomp.compress.fake_quantize.measure import Yardstick
from tvmcomp.compress.samples import Parts
from tvmcomp.progress import NoProgress
from tvmcomp.quantize.reasons import KEPT_AS_ASKED, KEPT_BY_GUARD


def network():
    """What ``bad`` reads has one column a thousand times the others, and gives it no weight: of
    what counts nothing is left in 8 bits."""
    bad = normal(6, 4)
    bad[0] = 0
    nodes = [
        node("MatMul", ["x", "good.w"], ["g"], "good"),
        node("MatMul", ["outlier", "bad.w"], ["b"], "bad"),
        node("Add", ["g", "b"], ["s"], "sum"),
        node("Tanh", ["s"], ["t"], "mixed"),
        node("MatMul", ["t", "last.w"], ["y"], "last"),
    ]
    weights = {"good.w": normal(6, 4, seed=1), "bad.w": bad, "last.w": normal(4, 3, seed=2)}
    return prepared(nodes, {"x": (1, 6), "outlier": (1, 6)}, ["y"], weights)


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(60):
        outlier = rng.normal(size=(1, 6)).astype("f4")
        outlier[:, 0] *= 1000
        samples.append({"x": rng.normal(size=(1, 6)).astype("f4"), "outlier": outlier})
    return Parts(samples[:30], samples[30:], [])


def reasons(plan):
    return {each.node: each.reason for each in plan.operators if not each.quantized}


def sqnr_db(quantized, model, parts):
    return Yardstick(model, parts.watch).sqnr_db(BatchedNetwork(quantized.model, parts.watch))


@pytest.mark.parametrize("bits", [8, 4])
def test_exactly_the_harmful_operator_stays_float(parts, bits):
    model = network()
    options = FakeQuantizeOptions(bits=bits)
    found = quantize_model(model, parts, options, NoProgress())
    assert reasons(found.plan) == {"bad": KEPT_BY_GUARD}
    assert "bad.w" in found.bits  # Its activations did the harm.
    if bits == 8:
        assert sqnr_db(found, model, parts) > 20


def test_off_rounds_everything(parts):
    model = network()
    options = FakeQuantizeOptions(min_sqnr_db=None)
    found = quantize_model(model, parts, options, NoProgress())
    assert not reasons(found.plan)
    assert sqnr_db(found, model, parts) < 20


def test_what_a_person_keeps_is_no_work_of_the_guard(parts):
    model = network()
    options = FakeQuantizeOptions(keep_float=("bad",))
    found = quantize_model(model, parts, options, NoProgress())
    assert reasons(found.plan) == {"bad": KEPT_AS_ASKED}


def test_a_ratio_that_integers_never_reach_keeps_everything(parts):
    model = network()
    options = FakeQuantizeOptions(min_sqnr_db=150.0)
    found = quantize_model(model, parts, options, NoProgress())
    assert not found.plan.activations
