"""The minimum cut, beside every choice tried out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tvmcomp.formats.cut import cheapest

INFINITE = float("inf")


def price(costs, borders, choice):
    own = sum(pair[second] for pair, second in zip(costs, choice, strict=True))
    return own + sum(c for (i, j), c in borders.items() if choice[i] != choice[j])


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_is_cheaper(seed):
    rng = np.random.default_rng(seed)
    costs = [tuple(map(float, rng.uniform(0, 1, 2))) for _ in range(9)]
    pairs = itertools.combinations(range(9), 2)
    borders = {pair: float(rng.uniform(0, 0.5)) for pair in pairs if rng.random() < 0.4}
    found = price(costs, borders, cheapest(costs, borders))
    best = min(price(costs, borders, c) for c in itertools.product((False, True), repeat=9))
    assert found == pytest.approx(best, rel=1e-6)


def test_what_can_not_be_is_not_chosen():
    costs = [(INFINITE, 5.0), (1.0, INFINITE), (INFINITE, 0.0)]
    assert cheapest(costs, {(0, 1): 9.0, (1, 2): 9.0}) == [True, False, True]


def test_a_border_keeps_neighbours_together():
    costs = [(1.0, 2.0), (2.0, 1.5), (1.0, 2.0)]
    assert cheapest(costs, {}) == [False, True, False]
    assert cheapest(costs, {(0, 1): 0.3, (1, 2): 0.3}) == [False, False, False]


def test_of_equals_the_first_form():
    assert cheapest([(1.0, 1.0), (0.0, 0.0)], {(0, 1): 0.5}) == [False, False]


def test_nothing_to_choose():
    assert cheapest([], {}) == []
