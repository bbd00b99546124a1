"""The bound on the ratio at the outputs: others reach it, and it tightens with the samples."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp.quantize.sqnr import bounded_sqnr_db, sqnr_db


def outputs(rng, count):
    """Results and rounded results; one sample in some carries nearly all the noise."""
    reference = rng.normal(size=(count, 10))
    size = 0.02 * rng.lognormal(0, 0.7, size=(count, 1))
    return reference, reference + size * rng.normal(size=(count, 10))


@pytest.mark.parametrize("count", [8, 16, 64])
def test_others_reach_the_bound_where_the_plain_ratio_promises_too_much(count: int) -> None:
    rng = np.random.default_rng(0)
    truth = sqnr_db(*outputs(rng, 200_000))
    drawn = [outputs(rng, count) for _ in range(300)]
    bounded = np.array([bounded_sqnr_db(*pair) for pair in drawn])
    plain = np.array([sqnr_db(*pair) for pair in drawn])
    too_much = np.mean(plain > truth)
    assert too_much > 0.5
    assert np.mean(bounded > truth) < 0.6 * too_much
    assert (bounded < plain).all()


def test_more_samples_give_a_tighter_bound() -> None:
    rng = np.random.default_rng(0)
    gaps = []
    for count in (4, 16, 64, 1024):
        pairs = [outputs(rng, count) for _ in range(50)]
        gaps.append(np.mean([sqnr_db(*pair) - bounded_sqnr_db(*pair) for pair in pairs]))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.7


def test_samples_of_equal_noise_are_no_doubt() -> None:
    reference = np.tile([1.0, -1.0], (6, 1))
    assert bounded_sqnr_db(reference, reference * 1.1) == pytest.approx(20)
    assert bounded_sqnr_db(reference[:1], reference[:1] * 1.1) == pytest.approx(20)
    assert bounded_sqnr_db(reference, reference) == float("inf")


def test_one_sample_with_nan_fails_all() -> None:
    reference = np.ones((4, 3))
    actual = reference.copy()
    actual[2, 1] = np.nan
    assert bounded_sqnr_db(reference, actual) == float("-inf")
