"""Pruning while training: sparsity at every update, masks that stay, and what is learnt."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from needed import package
from networks import classifier, images

torch = package("torch", "compress")

from onnx import numpy_helper  # noqa: E402

import tvmcomp  # noqa: E402
from tvmcomp.compress.distil import distil  # noqa: E402
from tvmcomp.compress.distil_options import DistilOptions  # noqa: E402
from tvmcomp.compress.network import TrainableNetwork  # noqa: E402
from tvmcomp.compress.original import read_original  # noqa: E402
from tvmcomp.compress.samples import Parts  # noqa: E402
from tvmcomp.compress.sparsify.gradual import Masks, Rise, prune_gradually  # noqa: E402
from tvmcomp.compress.sparsify.held import hold_zeros  # noqa: E402
from tvmcomp.compress.sparsify.prunable import prunable  # noqa: E402
from tvmcomp.compress.weights import Training  # noqa: E402
from tvmcomp.errors import ConfigError  # noqa: E402
from tvmcomp.progress import NoProgress  # noqa: E402


@pytest.fixture
def path(tmp_path):
    return classifier(tmp_path / "net.onnx")


@pytest.fixture
def samples():
    return [{"x": each[None]} for each in images(60, 3, 16, 16)]


def zeros(model: onnx.ModelProto, name: str) -> np.ndarray:
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    return numpy_helper.to_array(tensor) == 0


def options(steps: int) -> DistilOptions:
    return DistilOptions(budget=None, steps=steps, batch=8)


def test_sparsity_follows_the_polynomial_and_masks_only_grow(path, samples):
    model = read_original(path).prepared
    chosen = prunable(model, (1, 1))
    parts = Parts(fit=samples[:30], watch=samples[30:40], judge=[])
    seen: list[tuple[int, float]] = []
    rise = Rise(0.2, 0.7, 3.0, begin=2, end=12, frequency=5)
    pruned = prune_gradually(
        model, model, chosen, rise, parts, options(16), NoProgress(), lambda *at: seen.append(at)
    )
    assert [step for step, _ in seen] == [2, 7, 12, 16]
    sizes = [each.weight for each in chosen]
    for step, sparsity in seen:
        share = 0.7 + (0.2 - 0.7) * (1 - min(1.0, (step - 2) / 10)) ** 3
        counts = [int(np.prod(w.shape)) for w in sizes]
        wanted = sum(n - round(n * (1 - share)) for n in counts) / sum(counts)
        assert sparsity == pytest.approx(wanted, abs=1e-9)
    for each in chosen:
        name = each.weight.tensor
        assert zeros(pruned, name).mean() == pytest.approx(0.7, abs=0.01)


def test_a_weight_that_went_does_not_come_back(path, samples):
    model = read_original(path).prepared
    chosen = prunable(model, (1, 1))
    network = TrainableNetwork(model)
    training = Training(network, 0.05, 0.001)
    masks = Masks(training, chosen, everywhere=False)
    before = None
    for share in (0.3, 0.5, 0.5, 0.8):
        masks.update(share)
        gone = {e.weight.tensor: training.weights[e.weight.tensor] == 0 for e in chosen}
        if before is not None:
            assert all(bool(gone[name][before[name]].all()) for name in gone)
        before = gone
        x = torch.from_numpy(samples[0]["x"])
        training.step(network(x)[0].square().sum(), 1.0)
        masks.apply()


def test_zeros_stay_through_distillation(path, samples):
    model = read_original(path).prepared
    (each, *_) = prunable(model, (1, 1))
    name = each.weight.tensor
    changed = type(model)()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            array = numpy_helper.to_array(tensor).copy()
            array.reshape(-1)[::2] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    hold_zeros(changed, [name])
    parts = Parts(fit=samples[:30], watch=samples[30:40], judge=[])
    made = distil(changed, model, parts, options(25))
    assert made.best.loss < made.start.loss  # It learnt.
    assert zeros(made.model, name).reshape(-1)[::2].all()
    assert not zeros(made.model, name).reshape(-1)[1::2].any()


def compressed(path, samples, **asked):
    asked = {"measure": False, "max_drop": 100, "metric": "sqnr", **asked}
    return tvmcomp.compress(path, None, samples, **asked)


def nonzero_of(model: onnx.ModelProto) -> float:
    """The share of numbers that are not zero, in weights of two axes and more."""
    arrays = [numpy_helper.to_array(t) for t in model.graph.initializer if len(t.dims) > 1]
    return sum(np.count_nonzero(a) for a in arrays) / sum(a.size for a in arrays)


def test_rounding_after_it_keeps_the_zeros(path, samples):
    for bits in ({"quant": "int8"}, {"bits": 4}):
        result = compressed(path, samples, sparsity=0.6, block="1x1", **bits)
        assert [step.technique for step in result.proof.steps] == ["sparsify", "quantize"]
        assert nonzero_of(result.model) < 0.5
        note = result.proof.steps[0].notes[0]
        assert "in blocks of 1x1" in note and "are zero" in note


def test_a_recipe_with_distillation_rises_in_training(path, samples):
    recipe = [
        {"name": "sparsify", "sparsity": 0.5, "block": "1x1", "steps": 12, "end": 8},
        {"name": "quantize", "bits": 4},
        {"name": "distil", "steps": 12},
    ]
    result = tvmcomp.compress(
        path, None, samples, recipe=recipe, measure=False, max_drop=100, metric="sqnr"
    )
    assert nonzero_of(result.model) < 0.6


def test_zeros_stay_in_a_loop_of_ones_own(path, samples):
    ready = tvmcomp.compress.prepare(path, data=samples, sparsity=0.5, block="1x1")
    optimizer = torch.optim.Adam(ready.module.parameters(), 0.01)
    before = nonzero_of(ready.finish())
    x = torch.from_numpy(np.stack([sample["x"] for sample in samples[:8]]))
    for _ in range(3):
        optimizer.zero_grad()
        (ready.module(x) - 1).square().mean().backward()
        optimizer.step()
    assert before < 0.6 and nonzero_of(ready.finish()) == before


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"sparsity": 0.5, "block": "16"}, "outputs x inputs"),
        ({"sparsity": 1.0}, "sparsity"),
        ({"block": "16x1"}, "goes with"),
    ],
)
def test_refusals(path, samples, asked, message):
    with pytest.raises(ConfigError, match=message):
        compressed(path, samples, **asked)
