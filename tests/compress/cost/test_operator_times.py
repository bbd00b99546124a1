"""Times of small models: what shares one, what is cut out, and that the model of time is sane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch")

from tvmcomp.compress.cost import Compute, OperatorTimes, submodel
from tvmcomp.compress.cost.times import structure_digest


def product(inner: int, outer: int, seed: int = 0, rows: int = 8) -> onnx.ModelProto:
    """``[rows, inner] @ [inner, outer]``, and a Relu."""
    weight = np.random.default_rng(seed).standard_normal((inner, outer)).astype("float32")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
            helper.make_node("Relu", ["m"], ["y"], "relu"),
        ],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, inner])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, outer])],
        [numpy_helper.from_array(weight, "w")],
        value_info=[helper.make_tensor_value_info("m", TensorProto.FLOAT, [rows, outer])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def test_models_that_differ_in_weights_alone_share_a_time() -> None:
    assert structure_digest(product(16, 32, 0)) == structure_digest(product(16, 32, 1))
    assert structure_digest(product(16, 32)) != structure_digest(product(16, 48))
    assert structure_digest(product(16, 32)) != structure_digest(product(16, 32, rows=9))


def test_an_operator_is_cut_out_with_its_constants() -> None:
    cut = submodel(product(16, 32), {"product"})
    onnx.checker.check_model(cut, full_check=True)
    assert [value.name for value in cut.graph.input] == ["x"]
    assert [value.name for value in cut.graph.output] == ["m"]
    assert [tensor.name for tensor in cut.graph.initializer] == ["w"]


@pytest.mark.parametrize("compute", ["float", "int8"])
def test_what_is_measured_is_a_time_and_is_measured_once(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = OperatorTimes("native")
    assert times.measured
    first = times.in_turns([product(16, 32), product(64, 64)], compute)
    assert all(0 < each < 1 for each in first)
    monkeypatch.setattr("tvmcomp.compress.cost.times.build", None)  # nothing is built any more
    assert times.in_turns([product(64, 64, 3), product(16, 32, 2)], compute) == first[::-1]


def test_a_target_that_is_not_at_hand_is_modelled_in_whole_vectors() -> None:
    times = OperatorTimes("rpi4")
    assert not times.measured
    large, rounded, small = (times.seconds(product(256, n, rows=64)) for n in (256, 61, 64))
    assert large > 2 * small
    assert rounded == pytest.approx(small, rel=0.05)


def recurrent(units: int) -> onnx.ModelProto:
    """An LSTM over 20 steps of 32 numbers."""
    shapes = {"w": (1, 4 * units, 32), "r": (1, 4 * units, units)}
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y"], "lstm", hidden_size=units)],
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [20, 1, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [20, 1, 1, units])],
        [numpy_helper.from_array(np.zeros(s, "float32"), name) for name, s in shapes.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_recurrent_layer_of_fewer_units_takes_less_by_the_model() -> None:
    times = OperatorTimes("rpi4")
    whole, half = times.in_turns([recurrent(512), recurrent(256)])
    assert 0 < half < 0.6 * whole


def test_times_are_kept_for_the_same_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "times.json"
    models = [product(16, 32), product(64, 64)]
    times = OperatorTimes("native")
    made = []
    times.keep_in(path, lambda: made.append(path))
    assert not made  # nothing is measured yet
    found = times.in_turns(models), times.in_turns(models[:1], "int8")
    assert made
    monkeypatch.setattr("tvmcomp.compress.cost.times.build", None)  # nothing is built any more
    again = OperatorTimes("native")
    again.keep_in(path, path.parent.mkdir)
    assert (again.in_turns(models), again.in_turns(models[:1], "int8")) == found
    other = OperatorTimes("native", device="tcp://board:1")
    other.keep_in(path, path.parent.mkdir)
    assert not other._known
    path.write_bytes(b'{"of": "half of it')
    damaged = OperatorTimes("native")
    damaged.keep_in(path, path.parent.mkdir)
    assert not damaged._known
