"""Samples that are fitted on, and samples that judge."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp.quantize.held_out import FEWEST_SAMPLES, hold_out


@pytest.mark.parametrize(("count", "judging"), [(8, 2), (16, 4), (100, 25), (1000, 64)])
def test_a_quarter_is_held_out_up_to_what_suffices(count: int, judging: int) -> None:
    fitted, held = hold_out(range(count))
    assert len(held) == judging
    assert sorted([*fitted, *held]) == list(range(count))
    assert (fitted, held) == hold_out(range(count))


def test_of_few_samples_all_do_both() -> None:
    samples = list(range(FEWEST_SAMPLES - 1))
    assert hold_out(samples) == (samples, samples)


@pytest.mark.parametrize("cycle", [2, 4, 5, 10])
def test_cycles_of_classes_are_on_both_sides(cycle: int) -> None:
    for part in hold_out(np.arange(200) % cycle):
        shares = np.bincount(part, minlength=cycle) / len(part)
        assert shares.min() > 0.3 / cycle


def test_sorted_classes_are_on_both_sides() -> None:
    for part in hold_out(np.arange(200) // 50):
        assert np.bincount(part, minlength=4).min() > 0.1 * len(part)
