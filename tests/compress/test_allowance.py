"""Points that a run may lose, shared among its steps."""

from __future__ import annotations

import pytest

from tvmcomp.compress.allowance import Allowance, goes_as_far_as_allowed
from tvmcomp.compress.recipe import recipe_of

PRUNE, RANKS, BITS, DISTIL = (
    {"name": "prune"},
    {"name": "low_rank"},
    {"name": "quantize", "bits": 4},
    {"name": "distil"},
)


def allowance(recipe, cost=0.0, asked=None):
    def measured(steps):
        if asked is not None:
            asked.append([step.name for step in steps])
        return cost

    return Allowance(1.0, recipe_of(recipe, {}).steps, measured)


@pytest.mark.parametrize(
    "step, free",
    [
        (PRUNE, True),
        ({"name": "prune", "keep": ["Conv"]}, True),
        ({"name": "prune", "macs": 0.5}, False),
        ({"name": "prune", "drop": 0.0}, False),
        (RANKS, True),
        ({"name": "low_rank", "operators": {"MatMul": {"rank": 3}}}, True),
        ({"name": "low_rank", "faster": 1.2}, False),
        (BITS, False),
        (DISTIL, False),
    ],
)
def test_what_only_points_limit(step, free):
    assert goes_as_far_as_allowed(recipe_of([step], {}).steps[0]) == free


def test_one_step_has_all():
    asked: list[list[str]] = []
    assert allowance([PRUNE], asked=asked).of(0) == 1.0
    assert asked == []


def test_a_step_has_what_others_leave():
    asked: list[list[str]] = []
    points = allowance([PRUNE, BITS, DISTIL], 0.2, asked)
    assert points.of(0) == pytest.approx(0.8) and points.of(0) == pytest.approx(0.8)
    assert asked == [["quantize"]]


def test_no_less_than_if_all_shared_alike():
    assert allowance([PRUNE, BITS, DISTIL], 7.0).of(0) == 0.5


def test_what_is_not_spent_goes_on():
    points = allowance([PRUNE, RANKS, BITS], 0.1)
    assert points.of(0) == pytest.approx(0.45)
    points.lost(0, 0.2)
    assert points.of(1) == pytest.approx(0.7)
    points.lost(1, 5.0)
    assert points.of(1) == 0.0


def test_a_goal_is_told_of_its_part_and_costs_nobody_else():
    points = allowance([{"name": "prune", "macs": 0.5}, RANKS], 0.4)
    assert points.of(0) == 0.5
    points.lost(0, 0.4)
    assert points.of(1) == pytest.approx(0.6)
