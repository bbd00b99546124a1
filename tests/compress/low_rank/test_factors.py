"""Factors against numpy's truncated singular value decomposition, in float64."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from tvmcomp.compress.low_rank import factors


def problem(outputs: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A weight, and moments of inputs that depend on each other."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((4 * columns, columns)) @ rng.standard_normal((columns, columns))
    return rng.standard_normal((outputs, columns)), mixed.T @ mixed / len(mixed)


@pytest.mark.parametrize("rank", [1, 3, 7, 12])
def test_two_factors_are_the_truncated_decomposition_of_the_whitened_weight(rank: int) -> None:
    weight, square = problem(12, 20, rank)
    lower = np.linalg.cholesky(square)
    u, s, v = np.linalg.svd(weight @ lower, full_matrices=False)
    best = (u[:, :rank] * s[:rank]) @ v[:rank] @ np.linalg.inv(lower)
    first, last = factors.narrow(weight, square, rank)
    assert first.shape == (rank, 20) and last.shape == (12, rank)
    np.testing.assert_allclose(last @ first, best, atol=1e-9)
    assert factors.lost(weight, last @ first, square) == pytest.approx(
        (s[rank:] ** 2).sum() / (s**2).sum(), abs=1e-12
    )


def test_of_white_inputs_it_is_the_plain_decomposition() -> None:
    weight, _ = problem(9, 6)
    first, last = factors.narrow(weight, np.eye(6), 2)
    u, s, v = np.linalg.svd(weight, full_matrices=False)
    np.testing.assert_allclose(last @ first, (u[:, :2] * s[:2]) @ v[:2], atol=1e-12)


def test_channels_between_two_factors_have_one_variance() -> None:
    weight, square = problem(64, 64)
    first, _ = factors.narrow(weight, square, 32)
    variances = np.diag(first @ square @ first.T)
    principal = np.linalg.eigvalsh(weight @ square @ weight.T)[-32:]
    assert variances.max() / variances.min() < 0.1 * principal.max() / principal.min()


def test_all_ranks_give_the_weight_back() -> None:
    weight, square = problem(10, 6 * 9)
    made = factors.tucker(weight, square, 9, (6, 10))
    np.testing.assert_allclose(factors.composed(made, [9, 1, 1]), weight, atol=1e-5)
    pair = factors.spatial(weight, square, (3, 3), 18)
    np.testing.assert_allclose(factors.composed(pair, [3, 1]), weight, atol=1e-5)


def test_a_weight_of_low_rank_is_found_again() -> None:
    rng = np.random.default_rng(0)
    _, square = problem(10, 6 * 9)
    core = rng.standard_normal((3, 2, 9))
    tucker = np.einsum(
        "op,pqt,qc->oct", rng.standard_normal((10, 3)), core, rng.standard_normal((2, 6))
    )
    weight = tucker.reshape(10, -1)
    made = factors.tucker(weight, square, 9, (2, 3))
    assert factors.lost(weight, factors.composed(made, [9, 1, 1]), square) < 1e-9
    separable = np.einsum(
        "orj,rci->ocij", rng.standard_normal((10, 4, 3)), rng.standard_normal((4, 6, 3))
    ).reshape(10, -1)
    pair = factors.spatial(separable, square, (3, 3), 4)
    assert factors.lost(separable, factors.composed(pair, [3, 1]), square) < 1e-9


def test_the_samples_matter_more_than_the_weights() -> None:
    """Inputs that hardly vary may be lost, be their weights ever so large."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 8))
    weight[:, :4] *= 100
    square = np.diag([1e-6] * 4 + [1.0] * 4)
    first, last = factors.narrow(weight, square, 4)
    plain, back = factors.narrow(weight, np.eye(8), 4)
    assert factors.lost(weight, last @ first, square) < 0.01
    assert factors.lost(weight, back @ plain, square) > 0.3


def test_moments_of_few_samples_are_singular_and_do() -> None:
    weight, _ = problem(10, 6 * 9)
    x = np.random.default_rng(0).standard_normal((5, 54))
    square = x.T @ x / 5
    for whole in (
        factors.composed(factors.tucker(weight, square, 9, (6, 10)), [9, 1, 1]),
        factors.composed(factors.spatial(weight, square, (3, 3), 18), [3, 1]),
    ):
        assert factors.lost(weight, whole, square) < 1e-3


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17])
def test_the_turn_is_orthogonal(size: int) -> None:
    turn = factors.hartley(size)
    np.testing.assert_allclose(turn @ turn.T, np.eye(size), atol=1e-12)
