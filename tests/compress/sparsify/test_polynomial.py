"""The polynomial schedule equals the formula of TensorFlow's Model Optimization toolkit."""

from __future__ import annotations

import math

import pytest

from tvmcomp.compress.sparsify.polynomial import PolynomialDecay


def documented(step: int, start: float, final: float, begin: int, end: int, power: float) -> float:
    """As the toolkit documents ``PolynomialDecay``, for ``begin <= step <= end``."""
    return final + (start - final) * math.pow(1 - (step - begin) / (end - begin), power)


@pytest.mark.parametrize(
    ("start", "final", "begin", "end", "frequency", "power"),
    [(0.0, 0.8, 0, 1000, 100, 3), (0.5, 0.9, 200, 1100, 50, 3), (0.2, 0.6, 7, 91, 12, 1)],
)
def test_sparsity_and_updates(start, final, begin, end, frequency, power):
    decay = PolynomialDecay(start, final, begin, end, frequency, power)
    updates = [step for step in range(end + 300) if decay.is_update(step)]
    assert updates == list(range(begin, end + 1, frequency))
    for step in updates:
        expected = documented(step, start, final, begin, end, power)
        assert decay.sparsity(step) == pytest.approx(expected, abs=1e-6)
    assert decay.sparsity(0) == pytest.approx(start, abs=1e-6)
    assert decay.sparsity(end + 200) == pytest.approx(final, abs=1e-6)
    rising = [decay.sparsity(step) for step in updates]
    assert rising == sorted(rising)


def test_a_rise_of_one_step_is_a_jump():
    decay = PolynomialDecay(0.0, 0.7, 5, 5, 1)
    assert [decay.is_update(step) for step in (4, 5, 6)] == [False, True, False]
    assert decay.sparsity(6) == pytest.approx(0.7, abs=1e-6)
