"""What runs on a machine with a GPU, tried on this one's CPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmcomp
from benchmarks.cuda import on_gpu
from tvmcomp.targets.fingerprint import local_fingerprint


def network(path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((8, 4)).astype("f4")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 4))],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)


def test_each_artifact_is_checked_and_timed_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_gpu, "gpu_fingerprint", local_fingerprint)
    network(tmp_path / "net.onnx")
    artifact = tvmcomp.build(tmp_path / "net.onnx", log="none")
    graphs, plain, broken = (tmp_path / f"net.{name}.tvmc" for name in ("a-graphs", "b", "c"))
    artifact.save(graphs)
    artifact.save(plain)
    broken.write_bytes(b"no artifact")
    output = tmp_path / "results.json"
    assert on_gpu.run([graphs, plain, broken], output, 300.0) == 1
    found = json.loads(output.read_text())
    for part in ("check", "times"):
        order = [Path(each["artifact"]) for each in found[part]]
        assert order == [Path(each.name) for each in (plain, broken, graphs)]
        assert ["error" in each for each in found[part]] == [False, True, False]
    assert all(found["check"][i]["agrees"] and found["check"][i]["snr_db"] > 90 for i in (0, 2))
    assert found["times"][0]["ms"]
