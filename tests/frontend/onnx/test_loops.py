"""Loops are written as often as they run, or refused with the reason."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import random, run

from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model

node = helper.make_node


def value(name, kind=TensorProto.FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def body(extra=(), condition="c", held=()):
    """``x = x + 1``, and what ``extra`` computes."""
    nodes = [node("Add", ["x", "one"], ["y"]), *extra, node("Identity", [condition], ["going"])]
    inputs = [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("x")]
    one = numpy_helper.from_array(np.float32(1), "one")
    outputs = [value("going", TensorProto.BOOL), value("y")]
    return helper.make_graph(nodes, "body", inputs, outputs, [one, *held])


def model_of(nodes, output, constants=()):
    graph = helper.make_graph(
        nodes, "loops", [value("x", shape=[2, 3])], [value(output)], list(constants)
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def loop(inner, trips, name="loop", x="x", output="z"):
    constants = [numpy_helper.from_array(np.array(trips), f"{output}_trips")]
    return node("Loop", [f"{output}_trips", "", x], [output], name=name, body=inner), constants


def same(model):
    x = random(2, 3)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = session.run(None, {"x": x})[0]
    np.testing.assert_allclose(run(load_model(model), {"x": x})[0], wanted, rtol=1e-5)


def test_two_loops_of_one_name():
    first, held = loop(body(), 2, output="a")
    second, more = loop(body(), 3, x="a", output="b")
    x = random(2, 3)
    model = load_model(model_of([first, second], "b", [*held, *more]))
    np.testing.assert_allclose(run(model, {"x": x})[0], x + 5, rtol=1e-5)


def test_loop_in_a_loop():
    inner, held = loop(body(), 2, x="x", output="inner")
    graph = helper.make_graph(
        [inner, node("Identity", ["c"], ["going"])],
        "outer",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("x")],
        [value("going", TensorProto.BOOL), value("inner")],
        held,
    )
    outer, more = loop(graph, 3)
    same(model_of([outer], "z", more))


def test_scan_of_what_a_loop_gives():
    first, held = loop(body(), 2, output="a")
    total = helper.make_graph(
        [node("Add", ["sum", "row"], ["new"]), node("Identity", ["new"], ["out"])],
        "sums",
        [value("sum"), value("row")],
        [value("new", shape=[3]), value("out", shape=[3])],
    )
    zero = numpy_helper.from_array(np.zeros(3, "float32"), "zero")
    scan = node("Scan", ["zero", "a"], ["last", "z"], name="scan", body=total, num_scan_inputs=1)
    same(model_of([first, scan], "z", [*held, zero]))


def test_counter_without_a_trip_count():
    last = numpy_helper.from_array(np.array(4), "last")
    inner = body([node("Less", ["i", "last"], ["more"])], "more", [last])
    true = numpy_helper.from_array(np.array(True), "true")
    same(model_of([node("Loop", ["", "true", "x"], ["z"], name="l", body=inner)], "z", [true]))


@pytest.mark.parametrize("trips", [5000, 2**62])
def test_too_many_trips(trips):
    outer, held = loop(body(), trips)
    with pytest.raises(ModelError, match=r"it runs .* the limits are"):
        load_model(model_of([outer], "z", held))


def test_too_many_nodes_of_loops_in_loops():
    inner, held = loop(body(), 1000, x="x", output="inner")
    graph = helper.make_graph(
        [inner, node("Identity", ["c"], ["going"])],
        "outer",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("x")],
        [value("going", TensorProto.BOOL), value("inner")],
        held,
    )
    outer, more = loop(graph, 1000)
    with pytest.raises(ModelError, match="the limits are"):
        load_model(model_of([outer], "z", more))


def test_condition_of_data_without_a_trip_count():
    inner = body(
        [node("ReduceSum", ["y"], ["s"], keepdims=0), node("Less", ["s", "one"], ["more"])], "more"
    )
    loop_node = node("Loop", ["", "", "x"], ["z"], name="l", body=inner)
    with pytest.raises(ModelError, match="its condition depends on data"):
        load_model(model_of([loop_node], "z"))


def test_trip_count_of_data():
    graph = helper.make_graph(
        [node("Loop", ["n", "", "x"], ["z"], name="l", body=body())],
        "g",
        [value("n", TensorProto.INT64, []), value("x", shape=[2])],
        [value("z", shape=[2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ModelError, match="its trip count is computed when the network runs"):
        load_model(model)
