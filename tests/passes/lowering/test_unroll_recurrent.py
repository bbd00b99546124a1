"""Recurrent layers step by step give what ONNX Runtime gives, and build for a GPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import tvmcomp
from tvmcomp import targets
from tvmcomp.errors import TargetError
from tvmcomp.frontend import load_model
from tvmcomp.passes.lowering.unroll_recurrent import unroll_recurrent
from tvmcomp.tvm_import import tvm

relax = tvm.relax
T, B, WIDTH, H = 4, 2, 3, 5
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _network(path: Path, kind: str, **attributes: object) -> Path:
    rng = np.random.default_rng(len(attributes))
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = _GATES[kind] * H
    states = ["h"] + ["c"] * (kind == "LSTM")
    shapes = {
        "w": (directions, rows, WIDTH),
        "r": (directions, rows, H),
        "b": (directions, 2 * rows),
    }
    shapes |= dict.fromkeys(states, (directions, B, H))
    weights = [numpy_helper.from_array(rng.normal(size=shape).astype("f4"), name)
               for name, shape in shapes.items()]  # fmt: skip
    outputs = ["y", "y_h", "y_c"][: 1 + len(states)]
    node = helper.make_node(kind, ["x", "w", "r", "b", "", *states], outputs, "layer",
                            hidden_size=H, **attributes)  # fmt: skip
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "g",
        [info("x", 1, (T, B, WIDTH))],
        [info(name, 1, None) for name in outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("LSTM", {"direction": "bidirectional"}),
        pytest.param("GRU", {"direction": "reverse"}, marks=pytest.mark.slow),
        ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}),
        pytest.param("RNN", {"activations": ["Relu"]}, marks=pytest.mark.slow),
    ],
)
def test_step_by_step(tmp_path: Path, kind: str, attributes: dict) -> None:
    path = _network(tmp_path / "m.onnx", kind, **attributes)
    x = np.random.default_rng(1).normal(size=(T, B, WIDTH)).astype("f4")
    mod = unroll_recurrent(load_model(path).mod, targets.load("h100"))
    mod = relax.transform.DeadCodeElimination()(mod)
    executable = tvm.compile(relax.transform.LegalizeOps()(mod), tvm.target.Target("llvm"))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    wanted = onnxruntime.InferenceSession(path).run(None, {"x": x})
    for got, want in zip(machine["main"](tvm.runtime.tensor(x)), wanted, strict=True):
        np.testing.assert_allclose(got.numpy(), want, atol=1e-5)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")
def test_it_builds_for_a_gpu(tmp_path: Path) -> None:
    path = _network(tmp_path / "m.onnx", "LSTM")
    built = tvmcomp.build(path, target="h100", log="none", reference=False)
    assert [spec.name for spec in built.metadata.signature.outputs] == ["y", "y_h", "y_c"]


def test_what_only_a_cpu_computes_is_named(tmp_path: Path) -> None:
    path = _network(tmp_path / "m.onnx", "LSTM", clip=1.0)
    with pytest.raises(TargetError, match=r"layer.*can't be computed on a GPU.*bound"):
        unroll_recurrent(load_model(path).mod, targets.load("h100"))
