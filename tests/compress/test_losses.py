"""What a student is trained for: scores, odds, values and blocks, each against its definition."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import random, save

torch = pytest.importorskip("torch")

from tvmcomp.compress.losses import Objective, candidates  # noqa: E402
from tvmcomp.compress.network import TrainableNetwork  # noqa: E402
from tvmcomp.errors import CalibrationError, ModelError  # noqa: E402
from tvmcomp.frontend.binding import Binding  # noqa: E402
from tvmcomp.frontend.onnx.prepare import prepare  # noqa: E402

node = helper.make_node


def model_of(path, nodes, outputs, types=None, **weights):
    shapes = {"x": (1, 6)}
    saved = save(path / "m.onnx", nodes, shapes, outputs, weights=weights, types=types)
    return prepare(onnx.load(saved), Binding({}, {}, {}), where=str(saved)).model


def values_of(model, x):
    network = TrainableNetwork(model)
    with torch.no_grad():
        rows = [network.run([row], candidates(model)) for row in x]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def inputs(count=20):
    return torch.from_numpy(random(count, 1, 6))


@pytest.fixture
def ended(tmp_path):
    """The objective of a network with the end that it is called with, and its values."""

    def make(*nodes, outputs=("y",), **options):
        first = node("MatMul", ["x", "w"], ["s"])
        own = [random(6, 3, seed=seed) * 3 for seed in (1, 2)]
        teacher = model_of(
            tmp_path, [first, *nodes], list(outputs), w=own[0] - own[0].mean(1, keepdims=True)
        )
        student = model_of(tmp_path, [first, *nodes], list(outputs), w=own[1])
        taught, learned = values_of(teacher, inputs()), values_of(student, inputs())
        return Objective(student, teacher, (learned, taught), **options), learned, taught

    return make


def test_scores_are_compared_by_divergence_at_a_temperature(ended):
    objective, learned, taught = ended(node("Softmax", ["s"], ["y"]), temperature=3.0)
    mine, theirs = (torch.softmax(v["s"].double() / 3, -1) for v in (learned, taught))
    want = 9 * (theirs * (theirs / mine).log()).sum(-1).mean()
    torch.testing.assert_close(
        objective.output_loss(learned, taught).double(), want, rtol=1e-4, atol=0
    )
    assert abs(objective.output_loss(taught, taught)) < 1e-6
    same = (learned["s"].argmax(-1) == taught["s"].argmax(-1)).float().mean()
    assert objective.agreement(learned, taught).mean() == same


def test_an_axis_counted_from_the_end_is_the_same_axis(tmp_path):
    def network(axis):
        nodes = [node("MatMul", ["x", "w"], ["s"]), node("Softmax", ["s"], ["y"], axis=axis)]
        return model_of(tmp_path, nodes, ["y"], w=random(6, 3))

    student, teacher = network(1), network(-1)
    values = values_of(student, inputs()), values_of(teacher, inputs())
    assert Objective(student, teacher, values).ends[0][0].kind == "scores"
    other = network(0), values_of(network(0), inputs())
    assert Objective(student, other[0], (values[0], other[1])).ends[0][0].kind == "values"


def test_rows_that_look_like_scores_are_scores(ended):
    objective, *_ = ended(node("Identity", ["s"], ["y"]))
    assert objective.ends[0][0].kind == "scores"


def test_odds_are_compared_one_by_one(ended):
    objective, learned, taught = ended(node("Sigmoid", ["s"], ["y"]))
    mine, theirs = (torch.sigmoid(v["s"].double()) for v in (learned, taught))
    want = theirs * (theirs / mine).log() + (1 - theirs) * ((1 - theirs) / (1 - mine)).log()
    torch.testing.assert_close(
        objective.output_loss(learned, taught).double(), want.mean(), rtol=1e-4, atol=0
    )


def test_values_are_compared_by_squares_over_the_teachers_variance(ended):
    objective, learned, taught = ended(node("Tanh", ["s"], ["y"]))
    error = (learned["y"] - taught["y"]).square().mean() / taught["y"].var(correction=0)
    torch.testing.assert_close(objective.output_loss(learned, taught), error)
    assert objective.agreement(taught, taught).min() == 1


def test_every_output_counts(ended):
    objective, learned, taught = ended(
        node("Tanh", ["s"], ["y"]), node("Sigmoid", ["s"], ["z"]), outputs=("y", "z")
    )
    worse = {**learned, "y": learned["y"] + 1}
    assert objective.output_loss(worse, taught) > objective.output_loss(learned, taught)
    worse = {**learned, "s": -taught["s"]}
    assert objective.output_loss(worse, taught) > objective.output_loss(learned, taught)


def test_blocks_that_both_have_are_compared(tmp_path):
    def network(second):
        nodes = [
            node("MatMul", ["x", "v"], ["h"]),
            node("Add", ["h", "x"], ["block"]),
            node(second, ["block"], ["t"]),
            node("MatMul", ["t", "w"], ["y"]),
        ]
        return model_of(tmp_path, nodes, ["y"], v=random(6, 6), w=random(6, 3))

    teacher, student = network("Relu"), network("Tanh")
    taught, learned = values_of(teacher, inputs()), values_of(student, inputs())
    objective = Objective(student, teacher, (learned, taught), block_weight=0.5)
    assert [block.student for block in objective.blocks] == ["block"]
    away = {**learned, "block": taught["block"] + taught["block"].std(correction=0)}
    added = objective.loss(away, taught) - objective.output_loss(away, taught)
    torch.testing.assert_close(added, torch.tensor(0.5))


def test_labels_join(ended):
    objective, learned, taught = ended(node("Softmax", ["s"], ["y"]), label_weight=0.25)
    labels = torch.from_numpy(np.arange(20) % 3)
    crossed = torch.nn.functional.cross_entropy(learned["s"][:, 0], labels)
    want = 0.75 * objective.output_loss(learned, taught) + 0.25 * crossed
    torch.testing.assert_close(objective.output_loss(learned, taught, labels), want)
    found = learned["s"][:, 0].argmax(-1)
    assert objective.correct(learned, labels).mean() == (found == labels).float().mean()


@pytest.mark.parametrize("label", [np.array(3), np.array(-1), np.array([0, 1]), np.array(1.0)])
def test_labels_of_another_output_are_refused(ended, label):
    objective, learned, _ = ended(node("Softmax", ["s"], ["y"]))
    objective.check_labels([np.array(2)], learned)
    with pytest.raises(CalibrationError, match="whole numbers from 0 to 2"):
        objective.check_labels([label], learned)


def test_a_teacher_that_gives_nan_is_refused(tmp_path):
    model = model_of(tmp_path, [node("Tanh", ["x"], ["y"])], ["y"])
    values = values_of(model, inputs())
    with pytest.raises(CalibrationError, match="NaN"):
        Objective(model, model, (values, {**values, "y": values["y"] * np.nan}))


def test_whole_numbers_teach_nothing(tmp_path):
    nodes = [node("Cast", ["x"], ["y"], to=onnx.TensorProto.INT64)]
    model = model_of(tmp_path, nodes, ["y"], types={"y": onnx.TensorProto.INT64})
    values = values_of(model, inputs())
    with pytest.raises(ModelError, match="nothing to learn"):
        Objective(model, model, (values, values))
