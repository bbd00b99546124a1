"""Which kernel is faster: from times taken in turns, on machines that are not quiet."""

import random

from tvmcomp.tuning.judge import speedup, unsteady, wins


def rounds(speed, noise, number=15, drift=0.0, seed=0):
    """Times of a kernel and its baseline, on a machine that slows down as it goes."""
    rng = random.Random(seed)
    base = [(1 + drift * i) * rng.uniform(1, 1 + noise) for i in range(number)]
    run = [(1 + drift * i) / speed * rng.uniform(1, 1 + noise) for i in range(number)]
    return run, base


def test_a_drift_of_the_machine_is_no_gain():
    run, base = rounds(1.0, 0.01, drift=0.5)
    assert abs(speedup(run, base) - 1) < 0.01 and not wins(run, base)
    assert abs(speedup(*rounds(1.5, 0.01, drift=0.5)) - 1.5) < 0.02


def test_equal_kernels_hardly_ever_win():
    wrong = sum(wins(*rounds(1.0, 0.05, seed=seed)) for seed in range(500))
    assert wrong <= 5


def test_a_real_gain_wins_through_noise():
    right = sum(wins(*rounds(1.1, 0.05, seed=seed)) for seed in range(200))
    assert right >= 195


def test_one_lucky_round_does_not_win():
    run, base = rounds(0.9, 0.01)
    run[3] /= 10
    assert not wins(run, base)


def test_rounds_that_disagree_are_noticed():
    assert not unsteady(*rounds(2.0, 0.05))
    run, base = rounds(1.0, 0.01)
    assert unsteady([time * (2 if i % 2 else 1) for i, time in enumerate(run)], base)
