"""`tvmcomp.compress.prepare`: a module that a loop of one's own trains, and back to ONNX."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from needed import package
from networks import TOP, classifier, images, mobile

torch = package("torch", "compress")

import onnxruntime  # noqa: E402

import tvmcomp  # noqa: E402
from tvmcomp.errors import ConfigError, InputError  # noqa: E402


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx")


@pytest.fixture
def samples() -> list[dict[str, np.ndarray]]:
    return [{"x": each[None]} for each in images(60, 3, 16, 16)]


def prepared(model, samples, **options):
    return tvmcomp.compress.prepare(
        model, data=samples, **{"bits": 3, "round": "nearest", **options}
    )


def outputs_of(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.concatenate([session.run(None, {"x": each})[0] for each in x])


def test_a_loop_of_ones_own_learns_and_its_result_is_written(model, samples, tmp_path):
    own = prepared(model, samples)
    x = torch.from_numpy(np.concatenate([sample["x"] for sample in samples]))
    optimizer = own.optimizer()
    schedule = own.schedule(optimizer, 30)
    losses = []
    for _ in range(30):
        loss = (own.module(x) - own.teacher(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    small = own.finish(tmp_path / "small.onnx")
    assert onnx.load(tmp_path / "small.onnx") == small
    with torch.no_grad():
        wanted = own.module(x).numpy()
    np.testing.assert_allclose(
        outputs_of(small, x.numpy()[:, None]), wanted, atol=0.02 * np.ptp(wanted)
    )


def test_the_teacher_is_the_original_and_is_not_trained(model, samples):
    own = prepared(model, samples)
    x = np.concatenate([sample["x"] for sample in samples])
    wanted = outputs_of(onnx.load(model), x[:, None])
    np.testing.assert_allclose(own.teacher(torch.from_numpy(x)), wanted, atol=1e-4)
    assert not any(weight.requires_grad for weight in own.teacher.parameters())
    assert any(weight.requires_grad for weight in own.module.parameters())


def test_a_batch_may_have_the_samples_own_1_or_not(model, samples):
    own = prepared(model, samples)
    x = torch.from_numpy(np.stack([sample["x"] for sample in samples[:4]]))
    torch.testing.assert_close(own.module(x), own.module(x[:, 0]))
    assert own.module(x).shape == (4, 10)
    with pytest.raises(InputError, match="takes a batch of"):
        own.module(x[..., 1:])
    with pytest.raises(InputError, match="2 inputs are given"):
        own.module(x, x)


def test_several_outputs_are_a_tuple(tmp_path):
    model = mobile(tmp_path / "mobile.onnx")
    own = prepared(model, [{"image": each[None]} for each in images(40, 3, 32, 32)])
    scores, heat = own.module(torch.zeros(5, 3, 32, 32))
    assert scores.shape == (5, 10) and heat.shape == (5, 4, 16, 16)


def test_the_rates_rise_and_fall(model, samples):
    own = prepared(model, samples)
    optimizer = own.optimizer(rate=0.5, scale_rate=0.0)
    schedule = own.schedule(optimizer, 100)
    rates = []
    for _ in range(100):
        rates.append(max(group["lr"] for group in optimizer.param_groups))
        optimizer.step()
        schedule.step()
    highest = int(np.argmax(rates))
    assert 10 < highest < 40 and rates[0] < 0.1 * rates[highest] > rates[-1]


def test_a_step_that_learns_back_is_left_to_the_loop(model, samples):
    steps = [{"name": "quantize", "bits": 4}, {"name": "distil"}]
    own = tvmcomp.compress.prepare(model, steps, samples)
    assert any(note.startswith("quantize: weights:") for note in own.notes)
    with pytest.raises(ConfigError, match="nothing of it makes the network smaller"):
        tvmcomp.compress.prepare(model, [{"name": "distil"}], samples)
    with pytest.raises(ConfigError, match="no samples"):
        tvmcomp.compress.prepare(model, steps)
    with pytest.raises(ConfigError, match="is the model itself"):
        own.finish(model)


def test_both_spellings_are_there():
    from tvmcomp.compress import CompressResult, Prepared, prepare

    assert prepare is tvmcomp.compress.prepare and callable(tvmcomp.compress)
    assert CompressResult.__name__ == "CompressResult" and Prepared.__name__ == "Prepared"


def test_the_example_of_a_loop(tmp_path):
    said = example("own_loop.py", tmp_path, "--epochs", 1, "--samples", 100)
    assert "epoch 1" in said and "wrote" in said
    onnx.checker.check_model(tmp_path / "small.onnx")


def test_the_example_of_keras(tmp_path):
    package("keras", "keras")
    said = example("keras_network.py", tmp_path, "--epochs", 1, "--budget", 2)
    assert "top1" in said and "distil" in said
    onnx.checker.check_model(tmp_path / "small.onnx")


def example(name: str, folder: Path, *options: object) -> str:
    command = [sys.executable, TOP / "examples" / "compress" / name, "-o", folder / "small.onnx"]
    done = subprocess.run(
        [*map(str, command), *map(str, options)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
