"""Graphs of one sample run on several: what ONNX Runtime gives for each, whatever they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from needed import package
from networks import NetworkWriter, images, mobile, onnxruntime_outputs

package("torch", "compress")

from tvmcomp.compress.original import read_original  # noqa: E402
from tvmcomp.compress.running import Runner, compared  # noqa: E402


def check(path: Path, samples) -> None:
    original = read_original(path)
    given = Runner(original.prepared)(samples)
    for index, sample in enumerate(samples):
        wanted = onnxruntime_outputs(path, sample)
        assert set(given) == set(wanted)
        for name, array in wanted.items():
            assert given[name][index].shape == array.shape
            np.testing.assert_allclose(given[name][index], array, rtol=1e-4, atol=1e-4)


def test_several_outputs(tmp_path):
    path = mobile(tmp_path / "net.onnx")
    check(path, [{"image": each[None]} for each in images(5, 3, 32, 32)])


@pytest.mark.parametrize("count", [1, 3])
def test_outputs_that_are_constants_and_integers(tmp_path, count):
    net = NetworkWriter()
    net.op("Abs", net.weight(2, 5), name="constant")
    net.op("ArgMax", "x", axis=1, keepdims=0, name="best")
    net.op("Relu", "x", name="y")
    path = net.save(
        tmp_path / "net.onnx",
        {"x": (1, 5)},
        ["y", "constant", "best"],
        types={"best": onnx.TensorProto.INT64},
    )
    rng = np.random.default_rng(0)
    check(path, [{"x": rng.normal(size=(1, 5)).astype("float32")} for _ in range(count)])


def test_an_operator_that_takes_one_sample_at_a_time(tmp_path):
    net = NetworkWriter()
    net.op("Det", "x", name="y")  # torch has it by another name: ONNX's reference computes it
    path = net.save(tmp_path / "net.onnx", {"x": (1, 3, 3)}, ["y"])
    rng = np.random.default_rng(0)
    samples = [{"x": rng.normal(size=(1, 3, 3)).astype("float32")} for _ in range(3)]
    check(path, samples)


def test_networks_are_compared_by_several_metrics_at_once(tmp_path):
    original = read_original(mobile(tmp_path / "net.onnx"))
    noisy = onnx.ModelProto()
    noisy.CopyFrom(original.prepared)
    noisy.graph.initializer[0].raw_data = bytes(len(noisy.graph.initializer[0].raw_data))
    samples = [{"image": each[None]} for each in images(40, 3, 32, 32)]
    runners = Runner(original.prepared), Runner(noisy)
    scores = compared(*runners, samples, ["agreement", "sqnr"], original.signature.outputs)
    assert [score.metric for score in scores] == ["agreement", "sqnr"]
    assert all(score.samples == 40 and score.drop > 0 for score in scores)
    same = compared(runners[0], runners[0], samples, ["sqnr"], original.signature.outputs)
    assert same[0].drop == 0
