"""Networks with sizes that depend on data give what ONNX Runtime gives, and how much of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from chosen_rows import ROWS, WIDTH, Network, chosen_rows
from onnx import TensorProto, helper, numpy_helper
from onnx_models import random, run, save
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException
from slow_variants import first_and_slow

from tvmcomp.frontend import load_model
from tvmcomp.frontend.binding import Binding
from tvmcomp.frontend.onnx.load import load_proto


def _compare(seed: int) -> None:
    proto = chosen_rows(seed)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    x = random(ROWS, WIDTH, seed=seed)
    try:
        wanted = session.run(None, {"x": x})
    except (Fail, RuntimeException):  # the largest of no rows
        return
    model = load_proto(proto, Binding())
    names = [spec.name for spec in model.signature.outputs]
    got = dict(zip(names, run(model, {"x": x}), strict=True))
    for info, want in zip(session.get_outputs(), wanted, strict=True):
        rows = got[info.name]
        if f"{info.name}_count" in got:
            count = int(got[f"{info.name}_count"])
            assert count == len(want), info.name
            assert not rows[count:].any()
            rows = rows[:count]
        assert (rows.shape, rows.dtype) == (want.shape, want.dtype), info.name
        np.testing.assert_allclose(rows, want, rtol=1e-4, atol=1e-4, err_msg=info.name)


@pytest.mark.parametrize("seed", first_and_slow(*range(5), first=2))
def test_chosen_rows(seed: int) -> None:
    _compare(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 300, 20))
def test_many_chosen_rows(first: int) -> None:
    for seed in range(first, first + 20):
        _compare(seed)


def test_rows_filled_up_to_a_fixed_number(tmp_path: Path) -> None:
    """As a detector ends: PyTorch's exporter computes what Pad adds."""
    network = Network(seed=0)
    network.choose("x")
    network.padded(network.sets[0])
    path = save(tmp_path / "pad.onnx", network.nodes, {"x": (ROWS, WIDTH)},
                [network.outputs[0][0]],
                weights={w.name: numpy_helper.to_array(w) for w in network.weights})  # fmt: skip
    x = random(ROWS, WIDTH, seed=1)
    (got,) = run(load_model(path), {"x": x})
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_array_equal(got, wanted)


def test_constants_in_a_branch_of_if(tmp_path: Path) -> None:
    """A subgraph has no operator sets of its own; one branch gives fewer rows than the other."""
    info, node = helper.make_tensor_value_info, helper.make_node
    sides = {}
    for name, size in (("then_branch", 2), ("else_branch", 4)):
        inner = [
            node("Constant", [], ["two"], value_ints=[size]),
            node("Constant", [], ["one"], value_ints=[1]),
            node("Sub", ["two", "one"], ["end"]),
            node("Constant", [], ["zero"], value_ints=[0]),
            node("Slice", ["x", "zero", "end"], [f"{name}_y"]),
        ]
        sides[name] = helper.make_graph(inner, name, [], [info(f"{name}_y", 1, None)])
    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Greater", ["sum", "least"], ["large"]),
        node("If", ["large"], ["y"], **sides),
        node("NonZero", ["y"], ["places"]),
    ]
    weights = {"least": np.float32(0)}
    path = save(tmp_path / "if.onnx", nodes, {"x": (5,)}, ["y", "places"],
                weights=weights, types={"places": TensorProto.INT64})  # fmt: skip
    session = onnxruntime.InferenceSession(path)
    model = load_model(path)
    assert [spec.name for spec in model.signature.outputs] == [
        "y", "places", "y_count", "places_count",
    ]  # fmt: skip
    for sign in (1, -1):
        x = sign * np.arange(1, 6, dtype="float32")
        y, places, y_count, places_count = run(model, {"x": x})
        wanted = session.run(None, {"x": x})
        np.testing.assert_array_equal(y[:y_count], wanted[0])
        np.testing.assert_array_equal(places[:, :places_count], wanted[1])
