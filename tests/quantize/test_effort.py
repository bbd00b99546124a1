"""How much is measured follows from the network's size, and is bounded for large ones."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, relax, uniform

from tvmcomp.passes.rewriter import const
from tvmcomp.quantize.effort import effort_for, run_cost, spread

RNG = np.random.default_rng(0)


def test_the_cost_of_a_run_counts_products_and_elements() -> None:
    def network(emit, x):
        product = emit(relax.op.matmul(x, const(uniform(RNG, 6, 4))), "product")
        return [emit(relax.op.nn.relu(product), "relu")]

    assert run_cost(module(network, x=(8, 6))) == 8 * 6 * 4 + 20 * 2 * 8 * 4


def test_a_small_network_is_measured_operator_by_operator() -> None:
    effort = effort_for(1e6, 1e4, held_out=100, fitted=300, operators=50)
    assert effort.rankings > 2 * 50
    assert (effort.judging, effort.ranking, effort.looks) == (64, 16, 24)
    assert (effort.calibrating, effort.scaling, effort.rounding) == (300, 16, 64)


@pytest.mark.parametrize("cost", [1e9, 1e10, 1e11])
def test_a_large_network_takes_a_bounded_time(cost: float) -> None:
    effort = effort_for(cost, 1e7, held_out=1000, fitted=3000, operators=600)
    runs = effort.ranking * effort.rankings + effort.judging * 18 + effort.retrials
    runs += effort.calibrating + effort.scaling + effort.rounding
    floor = cost * (4 * 16 + 8 * 20 + 16 + 8 + 8)  # Less would decide nothing.
    assert cost * runs <= 3e12 + floor


def test_there_are_never_more_samples_than_were_given() -> None:
    effort = effort_for(1.0, 1.0, held_out=3, fitted=2, operators=5)
    assert (effort.judging, effort.ranking) == (3, 2)
    assert (effort.calibrating, effort.scaling, effort.rounding) == (2, 2, 2)


def test_samples_are_spread() -> None:
    samples = [[np.float32(i)] for i in range(9)]
    assert [float(sample[0]) for sample in spread(samples, 3)] == [0, 4, 8]
    assert len(spread(samples, 50)) == 9
