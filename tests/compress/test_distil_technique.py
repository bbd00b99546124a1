"""The technique ``distil``: what it is for, what it refuses, and how steps share the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from needed import package
from networks import classifier, images

package("torch", "compress")

import tvmcomp  # noqa: E402
from tvmcomp.compress import distil as engine  # noqa: E402
from tvmcomp.errors import ConfigError  # noqa: E402


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx")


@pytest.fixture
def samples() -> list[dict[str, np.ndarray]]:
    return [{"x": each[None]} for each in images(60, 3, 16, 16)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list:
    """The options of each distillation that is asked for; none is done."""
    found = []

    def noted(model, teacher, parts, options, progress, checkpoint):
        found.append(options)
        return engine.Distilled(model)

    monkeypatch.setattr(engine, "distil", noted)
    return found


def compressed(model, samples, output=None, **options):
    options = {"measure": False, "max_drop": 100, **options}
    return tvmcomp.compress(model, output, samples, **options)


STEPS = [{"name": "quantize", "bits": 3, "round": "nearest"}, {"name": "distil", "steps": 12}]


def test_what_quantization_costs_is_learned_back(model, samples):
    proof = compressed(model, samples, recipe=STEPS, budget="5m").proof
    rounded, learned = proof.steps
    assert learned.sqnr_db_after > rounded.sqnr_db_after + 1
    assert learned.bytes_after == pytest.approx(rounded.bytes_after, rel=0.02)
    assert any("after 12 steps" in note for note in learned.notes)


def test_three_samples_do(model, samples):
    proof = compressed(model, samples[:3], recipe=STEPS).proof
    assert proof.samples == {"fit": 1, "watch": 1, "judge": 1}
    assert np.isfinite(proof.score.drop) and len(proof.steps) == 2


def test_the_same_seed_gives_the_same_network(model, samples):
    first, second = (compressed(model, samples, recipe=STEPS, seed=7).model for _ in range(2))
    assert first == second
    assert first != compressed(model, samples, recipe=STEPS, seed=8).model


def test_alone_it_needs_labels(model, samples, asked):
    with pytest.raises(ConfigError, match="distil: nothing before it changes the network"):
        compressed(model, samples, distil=True)
    with pytest.raises(ConfigError, match="nothing before it changes"):
        compressed(model, samples, recipe=[{"name": "distil"}, {"name": "quantize"}])
    compressed(model, samples, distil=True, labels=np.arange(60) % 10)
    assert len(asked) == 1


def test_steps_share_the_time_and_may_have_their_own(model, samples, asked):
    steps = [{"name": "quantize"}, {"name": "distil"}, {"name": "distil", "budget": "5s"}]
    compressed(model, samples, recipe=steps, budget="20m", seed=3)
    assert [options.budget for options in asked] == [600, 5]
    assert {options.seed for options in asked} == {3}


def test_options_reach_the_engine_and_others_keep_its_defaults(model, samples, asked):
    step = {"name": "distil", "temperature": 4.0, "augment": False, "steps": 9}
    compressed(model, samples, recipe=[{"name": "quantize"}, step])
    (options,) = asked
    assert (options.temperature, options.augment, options.steps) == (4.0, False, 9)
    assert options.batch == engine.DistilOptions().batch
    for wrong in ({"temperature": 0}, {"budget": "soon"}, {"label_weight": 2.0}, {"steps": 0}):
        with pytest.raises(ConfigError):
            compressed(model, samples, recipe=[{"name": "quantize"}, {"name": "distil", **wrong}])


def test_ctrl_c_leaves_the_checkpoint_and_the_run_goes_on(model, samples, tmp_path, monkeypatch):
    out = tmp_path / "small.onnx"
    whole = compressed(model, samples, recipe=STEPS).model
    look = engine._Run._look
    looks = []

    def interrupted(self):
        look(self)
        looks.append(self.state.schedule.step)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(engine._Run, "_look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compressed(model, samples, out, recipe=STEPS)
    assert not out.exists() and (tmp_path / "small.onnx.checkpoint" / "0.onnx").is_file()
    proof = compressed(model, samples, out, recipe=STEPS).proof
    assert proof.resumed and onnx.load(out) == whole
    assert not (tmp_path / "small.onnx.checkpoint").exists()
