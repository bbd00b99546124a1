"""Intervals of confidence: known values, and how often they hold what they should."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp.intervals import bootstrap, paired_difference, wilson


def test_wilson_of_known_cases():
    # Newcombe, Statistics in Medicine 17 (1998) 857, table I: 81/263, 15/148, 0/20, 1/29.
    for hits, count, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(hits / count, count) == pytest.approx((low, high), abs=5e-5)


def pairs(both: int, only_first: int, only_second: int, neither: int):
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return np.array(first), np.array(second)


def test_paired_difference_of_known_cases():
    # Newcombe, Statistics in Medicine 17 (1998) 2635, table III, method 10.
    for cells, low, high in (
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((30, 0, 0, 0), -0.1135, 0.1135),
    ):
        found = paired_difference(*pairs(*cells))
        assert found == pytest.approx((low, high), abs=5e-4)
        difference = (cells[1] - cells[2]) / sum(cells)
        assert found[0] <= difference <= found[1]


@pytest.mark.parametrize("shares", [(0.9, 0.9), (0.95, 0.9), (0.99, 0.985)])
def test_the_interval_holds_the_difference_19_times_of_20(shares):
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        # Both are right about the same samples, mostly: one draw decides for both.
        draw = rng.random(200)
        first, second = draw < shares[0], (draw < shares[1]) ^ (rng.random(200) < 0.02)
        truth = shares[0] - (shares[1] * 0.98 + (1 - shares[1]) * 0.02)
        low, high = paired_difference(first, second)
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.92


def test_bootstrap_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap(values, lambda rows: float(np.mean(rows)))
    assert (low, high) == pytest.approx((values.mean() - 0.196, values.mean() + 0.196), abs=0.03)
    assert bootstrap(values, np.mean) == (low, high)  # the same seed draws the same
