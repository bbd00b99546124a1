"""Equalization: the same results, channels of like ranges."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper
from rounded_networks import RandomNetwork, node, normal, prepared, samples_of

torch = pytest.importorskip("torch")

from tvmcomp.compress.fake_quantize import equalize  # noqa: E402
from tvmcomp.compress.fake_quantize.equalize import equalized  # noqa: E402
from tvmcomp.compress.fake_quantize.fold import fold_affine  # noqa: E402
from tvmcomp.compress.fake_quantize.plan import plan_model  # noqa: E402
from tvmcomp.compress.network import TrainableNetwork  # noqa: E402


def outputs(model, samples):
    network = TrainableNetwork(model)
    with torch.no_grad():
        return np.stack([network(torch.from_numpy(s["x"]))[0].numpy() for s in samples])


def unequal():
    """A network whose middle channels differ a thousandfold."""
    factor = np.logspace(-3, 0, 8, dtype="f4").reshape(-1, 1, 1, 1)
    weights = {
        "a": normal(8, 3, 3, 3) * factor,
        "ab": normal(8, seed=1) * factor.reshape(-1),
        "d": normal(8, 1, 3, 3, seed=2),
        "c": normal(4, 8, 1, 1, seed=3) / factor.reshape(1, -1, 1, 1),
    }
    nodes = [
        node("Conv", ["x", "a", "ab"], ["t"], "first"),
        node("Relu", ["t"], ["r"], "relu"),
        node("Conv", ["r", "d"], ["u"], "depthwise", group=8),
        node("Conv", ["u", "c"], ["y"], "last"),
    ]
    return prepared(nodes, {"x": (1, 3, 8, 8)}, ["y"], weights)


def test_unequal_channels_are_brought_together():
    model = unequal()
    samples = samples_of(model, 8)
    scaled = equalized(model, plan_model(model), samples)
    wanted = outputs(model, samples)
    np.testing.assert_allclose(outputs(scaled, samples), wanted, rtol=1e-3, atol=1e-3)
    before, after = (
        {t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (model, scaled)
    )
    sizes = [np.abs(w["a"]).max(axis=(1, 2, 3)) for w in (before, after)]
    assert np.ptp(np.log(sizes[1])) < 0.8 * np.ptp(np.log(sizes[0]))


@pytest.mark.parametrize("seed", range(10))
def test_results_stay_whatever_is_scaled(seed, monkeypatch):
    monkeypatch.setattr(equalize, "_WORTH", 2.0)
    model = fold_affine(RandomNetwork(seed).model)
    samples = samples_of(model, 4)
    scaled = equalized(model, plan_model(model), samples)
    wanted = outputs(model, samples)
    np.testing.assert_allclose(outputs(scaled, samples), wanted, rtol=1e-3, atol=1e-4)
