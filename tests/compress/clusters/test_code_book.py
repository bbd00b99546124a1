"""Code books against all ways to cut sorted values, and what becomes of zeros."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

from tvmcomp.compress.clusters.choose import in_floats, in_integers
from tvmcomp.compress.clusters.code_book import code_book, nearest_index
from tvmcomp.quantize.rounding.gptq import hessian_error


def loss(values, importance, book):
    return float(np.sum(importance * np.square(values - book[nearest_index(values, book)])))


@pytest.mark.parametrize("seed", range(8))
def test_no_other_clusters_are_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(4, 11)), int(rng.integers(2, 5))
    values, importance = rng.standard_normal(size), rng.random(size) + 0.01
    order = np.argsort(values)
    points, mass = values[order], importance[order]
    best = np.inf
    for cuts in itertools.combinations(range(1, size), count - 1):
        parts = list(itertools.pairwise((0, *cuts, size)))
        centres = [np.average(points[a:b], weights=mass[a:b]) for a, b in parts]
        best = min(best, loss(points, mass, np.array(centres)))
    book = code_book(values, importance, count)
    assert len(book) == min(count, size)
    assert loss(values, importance, book) == pytest.approx(best, abs=1e-12)


def test_of_many_values_it_is_near_the_best_known_quantizer() -> None:
    """Lloyd-Max of a normal distribution: 20.22 dB at 16 levels (Max, 1960)."""
    values = np.random.default_rng(0).standard_normal(100_000)
    error = loss(values, np.ones_like(values), code_book(values, np.ones_like(values), 16))
    assert 10 * np.log10(len(values) / error) == pytest.approx(20.22, abs=0.1)


def test_what_matters_more_is_nearer() -> None:
    values = np.array([0.5, 1.0, 10.0, 11.0])
    book = code_book(values, np.array([1e6, 1e6, 1e-6, 1e-6]), 3)
    np.testing.assert_allclose(book, [0.5, 1, 10.5])


def test_pruned_weights_keep_their_zero() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((1, 20, 30)) + 3) * (rng.random((1, 20, 30)) < 0.5)
    x = rng.standard_normal((100, 30)) @ rng.standard_normal((30, 30))
    made = in_floats(weight, (x.T @ x)[None] / 100, 8)
    assert 0 in made.book and not made.values[weight == 0].any()
    assert code_book(np.zeros(9), np.ones(9), 4).tolist() == [0]


def test_fewer_values_than_asked_for_stay_as_they_are() -> None:
    weight = np.random.default_rng(0).choice([-0.5, 0.25, 2.0], size=(1, 8, 16))
    made = in_floats(weight, None, 16)
    np.testing.assert_array_equal(made.values, weight)


@pytest.mark.parametrize("count", [4, 16])
def test_integers_times_a_scale_and_errors_that_others_make_good(count: int) -> None:
    rng = np.random.default_rng(count)
    weight = rng.standard_normal((2, 24, 32)) * rng.uniform(0.1, 10, (2, 24, 1))
    x = rng.standard_normal((2, 200, 32)) @ rng.standard_normal((2, 32, 32))
    square = x.swapaxes(1, 2) @ x / 200
    made = in_integers(weight, square, count, lambda scale: scale)
    assert made.scale is not None and len(made.book) <= count
    codes = made.values / made.scale[..., None]
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-9)
    assert np.isin(np.rint(codes), made.book).all() and np.abs(made.book).max() <= 127
    alone = in_integers(weight, None, count, lambda scale: scale)
    errors = [hessian_error(weight - each.values, square).sum() for each in (made, alone)]
    assert errors[0] < 0.9 * errors[1]
