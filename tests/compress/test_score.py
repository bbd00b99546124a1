"""Scores of a network beside the original: each metric, and what can't be measured."""

from __future__ import annotations

import numpy as np
import pytest

from tvmcomp.compress.score import Scorer, check_metric, default_metric
from tvmcomp.errors import InputError
from tvmcomp.model import Signature, TensorSpec

CLASSES = TensorSpec("y", (1, 4), "float32")
MAP = TensorSpec("map", (1, 2, 3, 3), "float32")
COUNT = TensorSpec("count", (1,), "int64")


def signature(*outputs):
    return Signature((TensorSpec("x", (1, 2), "float32"),), outputs)


def scored(metric, before, after, labels=None, specs=(CLASSES,), at_once=7, parts=None):
    scorer = Scorer(metric, specs, parts)
    for start in range(0, len(next(iter(before.values()))), at_once):
        part = slice(start, start + at_once)
        scorer.add(
            {name: array[part] for name, array in before.items()},
            {name: array[part] for name, array in after.items()},
            None if labels is None else labels[part],
        )
    return scorer.score()


def one_hot(classes):
    return {"y": np.eye(4, dtype="float32")[classes][:, None]}


def test_against_labels_the_difference_is_lost():
    labels = np.arange(40) % 4
    before, after = labels.copy(), labels.copy()
    before[:2] = (before[:2] + 1) % 4  # 2 and 6 of 40 are wrong
    after[:6] = (after[:6] + 1) % 4
    found = scored("top1", one_hot(before), one_hot(after), labels)
    assert (found.before, found.after, found.drop) == pytest.approx((95, 85, 10))
    assert found.after_low < 85 < found.after_high
    assert found.drop_low < 10 < found.drop_high
    assert (found.samples, found.unit, found.output) == (40, "%", "y")


def test_agreement_is_with_the_original():
    before = np.arange(40) % 4
    after = before.copy()
    after[:4] = (after[:4] + 1) % 4
    found = scored("agreement", one_hot(before), one_hot(after))
    assert (found.before, found.after, found.drop) == (None, 90.0, pytest.approx(10))
    assert found.drop_low == pytest.approx(100 - found.after_high)


def test_likeness_is_of_the_output_that_lost_most():
    rng = np.random.default_rng(0)
    before = {"y": rng.normal(size=(50, 1, 4)), "map": rng.normal(size=(50, 1, 2, 3, 3))}
    noise = {name: rng.normal(size=array.shape) for name, array in before.items()}
    after = {"y": before["y"] + 0.1 * noise["y"], "map": before["map"] + 0.01 * noise["map"]}
    found = scored("sqnr", before, after, specs=(MAP, CLASSES))
    assert found.output == "y" and found.unit == "dB"
    assert found.after == pytest.approx(20, abs=1) and found.drop == pytest.approx(1, rel=0.3)
    assert found.drop == pytest.approx(100 * 10 ** (-found.after / 10))
    assert found.after_low < found.after < found.after_high
    alike = scored("cosine", before, after, specs=(MAP, CLASSES))
    assert alike.output == "y" and alike.drop == pytest.approx(100 * (1 - alike.after))


def test_scores_count_beside_boxes_that_they_are_joined_to():
    rng = np.random.default_rng(0)
    boxes, scores = rng.normal(0, 300, (50, 1, 2, 3, 3)), rng.uniform(0, 1, (50, 1, 2, 3, 3))
    before = {"map": np.concatenate([boxes, scores, 0 * scores], axis=2)}
    after = {"map": before["map"] + rng.normal(0, 0.3, before["map"].shape)}
    places = [(slice(None), slice(start, start + 2)) for start in (0, 2, 4)]
    for metric in ("sqnr", "cosine"):
        whole = scored(metric, before, after, specs=(MAP,))
        found = scored(metric, before, after, specs=(MAP,), parts={"map": places})
        assert whole.drop < 0.1 and whole.output == "map"
        assert found.drop > 10 and found.output == "map[:, 2:4]"


def test_the_same_network_loses_nothing():
    before = {"y": np.random.default_rng(0).normal(size=(9, 1, 4))}
    for metric in ("agreement", "sqnr", "cosine"):
        assert scored(metric, before, before).drop == pytest.approx(0)


def test_what_is_no_number_is_no_gain():
    before = {"y": np.ones((3, 1, 4)), "map": np.ones((3, 1, 2, 3, 3))}
    after = {"y": np.full((3, 1, 4), np.nan), "map": before["map"]}
    assert np.isnan(scored("sqnr", before, after, specs=(CLASSES, MAP)).drop)


def test_integers_are_no_likeness_where_there_are_floats():
    before = {"count": np.zeros((3, 1), "int64"), "map": np.ones((3, 1, 2, 3, 3))}
    after = {**before, "count": np.ones((3, 1), "int64")}
    assert scored("sqnr", before, after, specs=(COUNT, MAP)).output == "map"


def test_the_default_is_what_the_first_output_allows():
    assert default_metric(signature(CLASSES, MAP), labelled=True, scores=False) == "top1"
    assert default_metric(signature(CLASSES), labelled=False, scores=True) == "agreement"
    assert default_metric(signature(CLASSES), labelled=False, scores=False) == "sqnr"
    assert default_metric(signature(MAP, CLASSES), labelled=True, scores=True) == "sqnr"
    one = signature(TensorSpec("y", (1, 1), "float32"))
    assert default_metric(one, labelled=False, scores=True) == "sqnr"


def test_metrics_that_cant_be_measured_are_refused():
    with pytest.raises(InputError, match="needs labels"):
        check_metric("top1", signature(CLASSES), None)
    with pytest.raises(InputError, match="one row of class scores"):
        check_metric("agreement", signature(MAP), None)
    with pytest.raises(InputError, match="labels go from 0 to 4, the output has 4 classes"):
        check_metric("top1", signature(CLASSES), np.array([0, 4]))
    check_metric("top1", signature(CLASSES), np.array([0, 3]))
