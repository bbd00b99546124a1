"""The technique ``prune``: its goals, what it keeps, what it says, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from needed import package
from networks import NetworkWriter, classifier, images

package("torch", "compress")

import onnxruntime  # noqa: E402

import tvmcomp  # noqa: E402
from tvmcomp.compress.cost import OperatorTimes  # noqa: E402
from tvmcomp.compress.cost.arithmetic import multiply_adds  # noqa: E402
from tvmcomp.compress.original import read_original  # noqa: E402
from tvmcomp.errors import ConfigError  # noqa: E402

#: Not at hand: what it takes is modelled, and nothing is built.
TARGET = "rpi4"
SAMPLES = [{"x": each[None]} for each in images(80, 3, 16, 16)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx")


def pruned(model, **options):
    options = {"measure": False, "max_drop": 100, "target": TARGET, **options}
    return tvmcomp.compress(model, None, SAMPLES, **options)


def prepared(model) -> onnx.ModelProto:
    return read_original(model).prepared


def written(result, folder: Path) -> onnx.ModelProto:
    onnx.save(result.model, folder / "small.onnx")
    return prepared(folder / "small.onnx")


def in_need_of_all(folder: Path) -> Path:
    """A network that needs each of its 32 channels."""
    net = NetworkWriter(1)
    wide = net.op("Tanh", net.conv("x", (32, 3), (3, 3), pads=[1] * 4))
    net.op("Tanh", net.conv(wide, (4, 32), (3, 3), pads=[1] * 4), name="y")
    return net.save(folder / "values.onnx", {"x": (1, 3, 16, 16)}, ["y"])


def test_so_many_times_as_fast(model, tmp_path):
    result = pruned(model, speedup=1.3)
    small = written(result, tmp_path)
    before, after = OperatorTimes(TARGET).in_turns([prepared(model), small])
    assert before / after >= 1.3
    (step,) = result.proof.steps
    assert step.technique == "prune" and step.options["speedup"] == 1.3
    assert any("times as fast (by the model of the target, float)" in n for n in step.notes)
    assert any("10 of y: they are what the network gives" in n for n in step.notes)
    session = onnxruntime.InferenceSession(result.model.SerializeToString())
    assert session.run(None, SAMPLES[0])[0].shape == (1, 10)


@pytest.mark.parametrize("share", [0.8, 0.4])
def test_so_much_of_the_arithmetic(share, model, tmp_path):
    small = written(pruned(model, macs=share), tmp_path)
    before, after = multiply_adds([prepared(model), small])
    assert 0.2 * share < after / before <= share


def test_as_far_as_points_allow(model):
    some = pruned(model, prune=True, max_drop=5.0)
    (step,) = some.proof.steps
    assert step.drop_after <= 5.0
    none = pruned(model, recipe=[{"name": "prune", "drop": 0.0}])
    assert none.proof.after.parameters <= none.proof.before.parameters
    assert some.proof.after.parameters <= none.proof.after.parameters


def test_where_too_much_is_lost_smaller_goals_are_told(tmp_path):
    values = in_need_of_all(tmp_path)
    (step,) = pruned(values, speedup=3.0, max_drop=0.0).proof.steps
    assert any("smaller goals:" in note and "loses" in note for note in step.notes)
    assert not any("less than was asked for" in note for note in step.notes)
    (step,) = pruned(values, speedup=100.0).proof.steps
    assert any("less than was asked for" in note for note in step.notes)


def test_what_is_to_stay_stays(model, tmp_path):
    first = next(node for node in prepared(model).graph.node if node.op_type == "Conv")
    step = {"name": "prune", "macs": 0.5, "keep": [first.name]}
    small = written(pruned(model, recipe=[step]), tmp_path)
    widths = {t.name: t.dims[0] for t in small.graph.initializer}
    convolutions = [node for node in small.graph.node if node.op_type == "Conv"]
    assert widths[convolutions[0].input[1]] == 16 and widths[convolutions[2].input[1]] < 32
    with pytest.raises(ConfigError, match="'nothing_like_it'"):
        pruned(model, recipe=[{"name": "prune", "macs": 0.5, "keep": ["nothing_like_it"]}])


def test_integers_come_after(model):
    result = pruned(model, speedup=1.3, quant="int8")
    assert [step.technique for step in result.proof.steps] == ["prune", "quantize"]
    assert any("int8)" in note for note in result.proof.steps[0].notes)
    assert result.proof.after.parameters < result.proof.before.parameters
    with pytest.raises(ConfigError, match="quantized already"):
        pruned(result.model, speedup=1.3)


def test_what_pruning_lost_is_no_reason_to_keep_float(tmp_path):
    pruning, rounding = pruned(in_need_of_all(tmp_path), macs=0.3, quant="int8").proof.steps
    assert pruning.sqnr_db_after < 15  # less than the guard allows
    assert not any("accuracy guard" in note for note in rounding.notes)


def test_each_width_is_timed_beside_the_whole_network(model, monkeypatch):
    """A time of minutes ago is no measure: what else runs on the machine has changed."""
    together = []
    in_turns = OperatorTimes.in_turns

    def noted(self, models, compute="float", *, again=False, cold=False):
        if again:
            together.append(len(models))
        return in_turns(self, models, compute, again=again, cold=cold)

    monkeypatch.setattr(OperatorTimes, "in_turns", noted)
    pruned(model, speedup=1.3)
    assert together and set(together) == {2}


def test_a_run_that_goes_on_finds_what_channels_are_worth(model, tmp_path, monkeypatch):
    whole = pruned(model, macs=0.5).model
    folder = tmp_path / "kept"
    monkeypatch.setattr("tvmcomp.compress.channels.prune.repaired", stopped)
    with pytest.raises(KeyboardInterrupt):
        pruned(model, macs=0.5, checkpoint=folder)
    monkeypatch.undo()
    monkeypatch.setattr("tvmcomp.compress.channels.study.importance", stopped)
    result = pruned(model, macs=0.5, checkpoint=folder)
    assert result.proof.resumed and result.model == whole and not folder.exists()
    with pytest.raises(KeyboardInterrupt):  # of another seed it is another's
        pruned(model, macs=0.5, checkpoint=folder, seed=1)


def stopped(*given, **named):
    raise KeyboardInterrupt


def test_another_target_begins_anew(model, tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    monkeypatch.setattr("tvmcomp.compress.compress.judged", stopped)
    with pytest.raises(KeyboardInterrupt):
        pruned(model, speedup=1.3, checkpoint=folder)
    monkeypatch.undo()
    assert not pruned(model, speedup=1.3, checkpoint=folder, target="rpi5").proof.resumed


def test_what_has_no_channels_is_refused(tmp_path):
    net = NetworkWriter(0)
    net.op("Flatten", net.conv("x", (10, 3), (16, 16)), name="y")
    one = net.save(tmp_path / "one.onnx", {"x": (1, 3, 16, 16)}, ["y"])
    with pytest.raises(ConfigError, match=r"no channels .* cut; .* what the network gives"):
        pruned(one, macs=0.5)
    assert not [s for s in tvmcomp.compress(one).suggestions if "--speedup" in s.options]


def test_goals_and_suggestions(model):
    (found,) = (s for s in tvmcomp.compress(model).suggestions if "--speedup" in s.options)
    assert "48 channels in 2 groups" in found.why
    with pytest.raises(ConfigError, match="two goals"):
        pruned(model, speedup=1.3, macs=0.5)
    assert pruned(model, macs=1.0).proof.score.drop == 0
