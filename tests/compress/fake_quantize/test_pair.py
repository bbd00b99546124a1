"""Two networks side by side: which biases take up what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from rounded_networks import node, normal, prepared

pytest.importorskip("torch")

from tvmcomp.compress.fake_quantize.pair import Pair
from tvmcomp.compress.fake_quantize.plan import plan_model
from tvmcomp.compress.moments import gather


@pytest.mark.parametrize(("beta", "counts_once"), [(1.0, True), (0.5, False)])
def test_a_bias_that_counts_half_takes_up_nothing(beta: float, counts_once: bool) -> None:
    product = node("Gemm", ["x", "w", "b"], ["y"], "product", beta=beta)
    weights = {"w": normal(6, 4), "b": normal(4, seed=1)}
    model = prepared([product], {"x": (1, 6)}, ["y"], weights)
    rng = np.random.default_rng(0)
    samples = [{"x": rng.normal(1, 1, (1, 6)).astype("f4")} for _ in range(50)]
    pair = Pair(model, model, samples)
    (weight,), (own,) = plan_model(model).weights, pair.changed.network.nodes
    assert (pair.bias(weight, own) is not None) == counts_once
    pair.parameters["w"].data.mul_(0.5)
    before = pair.parameters["b"].detach().clone()
    pair.run(0)
    pair.correct_bias(weight, own)
    assert bool((pair.parameters["b"] != before).any()) == counts_once


@pytest.mark.parametrize("size", [0.37, 1e4])
@pytest.mark.parametrize("count", [1, 7])
def test_rows_that_are_all_alike_vary_by_nothing(size: float, count: int) -> None:
    """What float32 leaves of large squares is no variance: it may be below 0."""
    product = node("Gemm", ["x", "w", "b"], ["y"], "product")
    weights = {"w": normal(6, 4), "b": normal(4, seed=1)}
    model = prepared([product], {"x": (1, 6)}, ["y"], weights)
    row = (size * np.random.default_rng(3).normal(1, 1, (1, 6))).astype("f4")
    pair = Pair(model, model, [{"x": row}] * count)
    (weight,), (own,) = plan_model(model).weights, pair.changed.network.nodes
    assert not pair.moments(weight, own).square.any()
    moments = gather(weight, own, pair.changed.tensor("x"))
    np.testing.assert_allclose(moments.mean, row, rtol=1e-6)
    assert not moments.square.any()
