"""How networks end: by their graph, and where that leaves it open by what they give."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import random, save

torch = pytest.importorskip("torch")

from tvmcomp.compress.ends import (  # noqa: E402
    End,
    are_scores,
    classes_last,
    ends_of,
    looks_like_scores,
)
from tvmcomp.frontend.binding import Binding  # noqa: E402
from tvmcomp.frontend.onnx.prepare import prepare  # noqa: E402

node = helper.make_node


def end_of(path, nodes, opset=17, kind=TensorProto.FLOAT, **weights):
    return ends_of(model_of(path, nodes, opset, kind, **weights))["y"]


def model_of(path, nodes, opset=17, kind=TensorProto.FLOAT, **weights):
    saved = save(
        path / "m.onnx",
        nodes,
        {"x": (1, 6)},
        ["y"],
        weights=weights,
        opset=opset,
        types={"y": kind},
    )
    return prepare(onnx.load(saved), Binding({}, {}, {}), where=str(saved)).model


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_scores_are_compared_before_a_softmax(tmp_path, operator):
    nodes = [node("MatMul", ["x", "w"], ["s"]), node(operator, ["s"], ["y"], axis=-1)]
    assert end_of(tmp_path, nodes, w=random(6, 3)) == End("y", "s", "scores", -1)


def test_what_only_moves_after_a_softmax_is_passed(tmp_path):
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=1),
        node("Transpose", ["p"], ["t"], perm=[1, 0]),
        node("Identity", ["t"], ["y"]),
    ]
    assert end_of(tmp_path, nodes, w=random(6, 3)) == End("y", "s", "scores", 1)


def test_before_set_13_a_softmax_is_over_all_later_axes(tmp_path):
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        node("Reshape", ["s", "shape"], ["r"]),
        node("Softmax", ["r"], ["y"], axis=1),
    ]
    weights = {"w": random(6, 6), "shape": np.array([1, 2, 3])}
    assert end_of(tmp_path, nodes, opset=11, **weights) == End("y", "y", "values")
    assert end_of(tmp_path, nodes, opset=13, **weights).kind == "scores"


def test_odds_are_compared_before_a_sigmoid(tmp_path):
    nodes = [node("MatMul", ["x", "w"], ["s"]), node("Sigmoid", ["s"], ["y"])]
    assert end_of(tmp_path, nodes, w=random(6, 1)) == End("y", "s", "odds")


def test_the_largest_of_scores_is_learned_by_the_scores(tmp_path):
    nodes = [node("MatMul", ["x", "w"], ["s"]), node("ArgMax", ["s"], ["y"], axis=1)]
    end = end_of(tmp_path, nodes, kind=TensorProto.INT64, w=random(6, 3))
    assert end == End("y", "s", "scores", 1)


def test_a_product_is_in_question_and_an_activation_is_not(tmp_path):
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    assert end_of(tmp_path, nodes, w=random(6, 3)).in_question
    nodes = [node("MatMul", ["x", "w"], ["s"]), node("Relu", ["s"], ["y"])]
    assert end_of(tmp_path, nodes, w=random(6, 3)) == End("y", "y", "values")


def sharp_scores(count, classes, seed=0):
    """What a classifier gives that is mostly sure: around 0, one of them far above."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, 1, classes))
    scores[np.arange(count), 0, rng.integers(0, classes, count)] += 4 + np.log(classes)
    return torch.from_numpy(scores - scores.mean(-1, keepdims=True))


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_sure_and_centred_and_various_rows_are_scores(classes):
    assert looks_like_scores(End("y", "y", "values"), sharp_scores(40, classes))


@pytest.mark.parametrize(
    "values",
    [
        torch.randn(40, 1, 384) / 20,  # an embedding of length 1
        100 + 30 * torch.randn(40, 1, 4),  # coordinates in pixels
        torch.randn(40, 1, 1),  # one number
        torch.randn(40, 1, 3) * 0.1 + torch.tensor([5.0, 0.0, -5.0]),  # always the same one
    ],
)
def test_other_rows_are_values(values):
    assert not looks_like_scores(End("y", "y", "values"), values)


@pytest.mark.parametrize(
    ("last", "outputs", "expected"),
    [
        (None, sharp_scores(40, 10), True),
        (None, torch.randn(40, 1, 384) / 20, False),
        ("Softmax", torch.full((40, 1, 10), 0.1), True),
        ("Sigmoid", sharp_scores(40, 10), False),
        (None, sharp_scores(40, 10)[:, 0], False),  # one axis: rather time
        (None, sharp_scores(40, 10).reshape(40, 1, 2, 5), False),
    ],
)
def test_a_classifiers_first_output_is_told_from_an_embedding(tmp_path, last, outputs, expected):
    nodes = [node("MatMul", ["x", "w"], ["s" if last else "y"])]
    nodes += [node(last, ["s"], ["y"])] if last else []
    assert are_scores(model_of(tmp_path, nodes, w=random(6, 3)), outputs.numpy()) is expected


def test_classes_along_another_axis():
    values = torch.arange(2 * 1 * 3 * 4).reshape(2, 1, 3, 4)
    rows = classes_last(End("y", "y", "scores", 1), values)
    assert rows.shape == (2, 4, 3)
    torch.testing.assert_close(rows[1, 2], values[1, 0, :, 2])
