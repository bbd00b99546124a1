"""Importance: what second-order statistics tell of a channel is what the outputs lose with it."""

from __future__ import annotations

from needed import package

package("torch", "compress")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from networks import NetworkWriter  # noqa: E402
from random_networks import block_network, heads, recurrent  # noqa: E402
from test_groups import image, outputs  # noqa: E402

import tvmcomp.compress.channels.importance as importance_module  # noqa: E402
from tvmcomp.compress.channels.groups import find_groups  # noqa: E402
from tvmcomp.compress.channels.importance import channel_means, importance  # noqa: E402
from tvmcomp.compress.channels.mask import masked  # noqa: E402
from tvmcomp.compress.original import read_original  # noqa: E402

SAMPLES = [{"x": image(seed)} for seed in range(48)]


def divergence(model, other, scores: bool) -> float:
    """Mean over the samples, in nats or in halves of the variance."""
    before, after = (np.concatenate([outputs(m, s["x"]) for s in SAMPLES]) for m in (model, other))
    if not scores:
        return float(np.mean((before - after) ** 2) / before.var() / 2)
    odds, logs = [], []
    for values in (before, after):
        shifted = values - values.max(1, keepdims=True)
        logs.append(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
        odds.append(np.exp(logs[-1]))
    return float(np.mean((odds[0] * (logs[0] - logs[1])).sum(1)))


@pytest.mark.parametrize("scores", [True, False])
def test_importance_is_about_what_is_lost(scores, tmp_path):
    net = NetworkWriter(5)
    x = "x"
    for inputs, out in ((3, 8), (8, 8)):
        x = net.op("Relu", net.conv(x, (out, inputs), (3, 3), pads=[1] * 4))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    x = net.op("Gemm", x, net.weight(5, 8), transB=1, name="z" if scores else "y")
    if scores:
        net.op("Softmax", net.op("Mul", x, net.constant(np.float32(4.0))), name="p", axis=-1)
        net.op("Log", "p", name="y")
    shown = ["p"] if scores else ["y"]
    model = read_original(net.save(tmp_path / "n.onnx", {"x": (1, 3, 6, 6)}, shown)).prepared
    groups = find_groups(model)
    found = importance(groups, SAMPLES, seed=0)
    means = channel_means(groups, SAMPLES)
    classes = [each for group in groups.groups for each in group.classes]
    assert sorted(found) == sorted(classes) and len(classes) == 16

    def lost(each: int) -> float:
        other = masked(groups, {each}, means).model
        if not scores:
            return divergence(model, other, False)
        before, after = (
            np.concatenate([outputs(m, s["x"]) for s in SAMPLES]) for m in (model, other)
        )
        return float(np.mean((before * np.log(before / after)).sum(1)))

    wanted = np.array([lost(each) for each in classes])
    got = np.array([found[each] for each in classes])
    assert np.corrcoef(np.sqrt(wanted), np.sqrt(got))[0, 1] > 0.9
    assert 0.4 < got.sum() / wanted.sum() < 2.5


@pytest.mark.parametrize("block", [heads, recurrent])
def test_heads_and_units_are_worth_something(block, tmp_path, monkeypatch):
    monkeypatch.setattr(importance_module, "DRAWS", 12)
    groups = find_groups(block_network(tmp_path, block))
    found = importance(groups, SAMPLES, seed=0)
    assert all(value >= 0 for value in found.values()) and max(found.values()) > 0
    assert found == importance(groups, SAMPLES, seed=0)
