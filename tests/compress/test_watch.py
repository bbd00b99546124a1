"""What counts as better on samples held out: never chance, and never fewer classes right."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from tvmcomp.compress.watch import Standing


def standing(losses: np.ndarray, agreement: float = 0.9, correct: float | None = None) -> Standing:
    return Standing(float(losses.mean()), agreement, correct, tuple(losses.tolist()))


def drawn(rng: np.random.Generator, count: int, size: float = 1.0) -> np.ndarray:
    """Losses of few samples that are hard and many that are not, as divergences are."""
    return size * rng.lognormal(-3, 2, count)


def test_the_best_of_many_looks_at_few_samples_is_seldom_called_better() -> None:
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(200):
        common = drawn(rng, 40)
        start = standing(common * rng.lognormal(0, 0.3, 40))
        looks = [standing(common * rng.lognormal(0, 0.3, 40)) for _ in range(30)]
        best = min(looks, key=lambda each: each.loss)
        accepted += best.surely_better_than(start, len(looks))
    assert accepted <= 0.05 * 200


@pytest.mark.parametrize("count", [40, 200])
def test_what_is_much_better_is_called_so(count: int) -> None:
    rng = np.random.default_rng(1)
    start = drawn(rng, count)
    better = standing(start * 0.5 * rng.lognormal(0, 0.3, count))
    assert better.surely_better_than(standing(start), 50)
    assert not standing(start).surely_better_than(better, 50)


def test_of_three_samples_nothing_is_sure() -> None:
    start, better = standing(np.array([1.0, 2.0, 3.0])), standing(np.array([0.1, 0.2, 0.3]))
    assert not better.surely_better_than(start, 1)


def test_no_share_may_fall() -> None:
    start, lower = standing(np.ones(40), 0.95, 0.9), np.full(40, 0.5)
    assert standing(lower, 0.95, 0.9).better_than(start, start)
    assert not standing(lower, 0.925, 0.9).better_than(start, start)
    assert not standing(lower, 0.95, 0.875).better_than(start, start)
