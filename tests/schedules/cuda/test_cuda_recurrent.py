"""Recurrent layers on a GPU, run on the CPU, give what ONNX Runtime gives."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from network_on_cpu import run_network
from onnx import helper, numpy_helper

import tvmcomp
from tvmcomp import targets
from tvmcomp.codegen.cuda import nvcc, nvrtc
from tvmcomp.frontend import load_model
from tvmcomp.passes.pipeline import canonical, lower
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.recurrent import RECURRENT, cell_of
from tvmcomp.schedules.cuda.recurrent_kernel import recurrent_refusal

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
        ("GRU", {"linear_before_reset": 1, "direction": "reverse"}),
        pytest.param("GRU", {"direction": "bidirectional"}, marks=pytest.mark.slow),
        pytest.param("RNN", {"activations": ["Relu"]}, marks=pytest.mark.slow),
        pytest.param(
            "RNN",
            {"activations": ["Relu", "Softsign"], "direction": "bidirectional"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_all_results_of_a_layer(tmp_path: Path, kind: str, attributes: dict) -> None:
    path = _network(tmp_path / "m.onnx", kind, **attributes)
    x = np.random.default_rng(1).normal(size=(T, B, WIDTH)).astype("f4")
    lowered = lower(canonical(load_model(path).mod), targets.load("h100"))
    wanted = onnxruntime.InferenceSession(path).run(None, {"x": x})
    for got, want in zip(run_network(lowered, [x]), wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(
    not (nvcc.find_nvcc() or nvrtc.find_nvrtc()), reason="no CUDA compiler on this machine"
)
def test_it_builds_for_a_gpu(tmp_path: Path) -> None:
    path = _network(tmp_path / "m.onnx", "LSTM")
    built = tvmcomp.build(path, target="h100", log="none", reference=False)
    assert [spec.name for spec in built.metadata.signature.outputs] == ["y", "y_h", "y_c"]


def test_what_only_a_cpu_computes_is_named(tmp_path: Path) -> None:
    mod = load_model(_network(tmp_path / "m.onnx", "LSTM")).mod
    (layer,) = (b.value for b in main_bindings(mod) or [] if op_name(b.value) == RECURRENT)
    cell = msgspec.structs.replace(cell_of(layer), units=4096)
    assert "4096 units" in str(recurrent_refusal(cell))
    assert recurrent_refusal(cell_of(layer)) is None
    assert "range" in str(recurrent_refusal(msgspec.structs.replace(cell, dynamic_range=True)))
