"""Samples in three parts: nothing in two of them, whatever order they came in."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp.compress.samples import divide, sample_digest
from tvmcomp.errors import CalibrationError


def samples_of(count):
    return [{"x": np.full((1, 2), i, "float32")} for i in range(count)]


def values(part):
    return [int(sample["x"][0, 0]) for sample in part]


def test_every_sample_is_in_one_part():
    parts = divide(samples_of(200), seed=0)
    assert sorted(values(parts.fit + parts.watch + parts.judge)) == list(range(200))
    assert (len(parts.fit), len(parts.watch), len(parts.judge)) == (120, 40, 40)
    assert not parts.notes


def test_samples_that_lie_sorted_are_mixed():
    parts = divide(samples_of(200), seed=0)
    for part in (parts.fit, parts.watch, parts.judge):
        assert 60 < np.mean(values(part)) < 140
        assert values(part) != sorted(values(part))


def test_the_order_that_they_came_in_does_not_matter_and_the_seed_does():
    there, back = divide(samples_of(50), seed=1), divide(samples_of(50)[::-1], seed=1)
    assert values(there.fit) == values(back.fit)
    assert values(there.judge) == values(back.judge)
    assert values(divide(samples_of(50), seed=2).fit) != values(there.fit)


def test_copies_are_left_out():
    parts = divide(samples_of(40) * 3, seed=0)
    assert sorted(values(parts.fit + parts.watch + parts.judge)) == list(range(40))
    assert parts.notes == ("80 of 120 samples are copies of others and were left out.",)


def test_labels_stay_with_their_samples():
    parts = divide(samples_of(40), seed=0, labels=range(40))
    assert [int(label) for label in parts.fit_labels] == values(parts.fit)
    assert [int(label) for label in parts.judge_labels] == values(parts.judge)
    with pytest.raises(CalibrationError, match="40 samples and 39 labels"):
        divide(samples_of(40), seed=0, labels=range(39))


def test_three_samples_make_three_parts_and_a_note():
    parts = divide(samples_of(3), seed=0)
    assert [len(p) for p in (parts.fit, parts.watch, parts.judge)] == [1, 1, 1]
    assert "guess" in parts.notes[0]


def test_no_part_is_for_a_proof_that_has_its_own_samples():
    parts = divide(samples_of(100), seed=0, judged_elsewhere=True)
    assert (len(parts.fit), len(parts.watch), len(parts.judge)) == (80, 20, 0)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (samples_of(2), "2 samples are too few"),
        (samples_of(1) * 9, "all 9 samples are alike"),
        ([*samples_of(5), {"x": np.array([[1, np.nan]], "float32")}], "sample 5, input 'x'"),
    ],
)
def test_samples_that_can_not_be_divided_are_refused(samples, message):
    with pytest.raises(CalibrationError, match=message):
        divide(samples, seed=0)


def test_a_digest_tells_shapes_and_types_apart():
    zeros = [np.zeros((1, 4), "float32"), np.zeros((2, 2), "float32"), np.zeros((1, 4), "int32")]
    assert len({sample_digest({"x": array}) for array in zeros}) == 3
