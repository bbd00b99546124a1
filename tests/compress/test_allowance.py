"""Points that a run may lose, shared among its steps."""

from __future__ import annotations

import coarse_weights
import msgspec
import pytest
from needed import package
from networks import classifier, images

package("torch", "compress")

import tvmcomp  # noqa: E402
from tvmcomp.compress.allowance import Allowance, goes_as_far_as_allowed  # noqa: E402
from tvmcomp.compress.recipe import recipe_of  # noqa: E402
from tvmcomp.compress.technique import TECHNIQUES, Applied, technique  # noqa: E402

PRUNE, RANKS, BITS, DISTIL = (
    {"name": "prune"},
    {"name": "low_rank"},
    {"name": "quantize", "bits": 4},
    {"name": "distil"},
)


@pytest.fixture
def greedy():
    """A technique at place 10 that says what it may lose, and does nothing."""
    coarse_weights.register()

    @technique("greedy", place=10, goals=("share",))
    class Greedy(TECHNIQUES["coarse"]):
        class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
            share: float | None = None

        chosen_by = ("greedy",)
        on_command_line = ("greedy",)

        def apply(self, model, run):
            return Applied(model, (f"{run.max_drop:.3f}",))

    yield
    coarse_weights.unregister()
    del TECHNIQUES["greedy"]


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


@pytest.mark.parametrize("mantissa, least", [(23, 9.999), (2, 5.0), (0, 5.0)])
def test_what_others_cost_is_measured(greedy, tmp_path, mantissa, least):
    samples = [{"x": each[None]} for each in images(60, 3, 16, 16)]
    recipe = [{"name": "greedy"}, {"name": "coarse", "mantissa": mantissa}]
    proof = tvmcomp.compress(
        classifier(tmp_path / "net.onnx"), None, samples,
        recipe=recipe, metric="sqnr", max_drop=10, measure=False,
    ).proof  # fmt: skip
    first, second = proof.steps
    assert float(first.notes[0]) == pytest.approx(max(10 - second.drop_after, 5.0), abs=1e-3)
    assert float(first.notes[0]) >= least
