"""Loops are written as often as they run, kept as loops, or refused with the reason."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from loop_cases import LoopCase
from onnx import TensorProto, helper, numpy_helper
from onnx_models import random, run

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model
from tvmcomp.passes.pipeline import canonical

node = helper.make_node
SEVEN = numpy_helper.from_array(np.float32(7), "seven")


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


@pytest.mark.parametrize("trips", [0, 5000])
def test_many_trips(trips):
    inner, held = loop(body([node("Mod", ["y", "seven"], ["w"], fmod=1)], held=[SEVEN]), trips)
    inner.attribute[0].g.output[1].name = "w"
    same(model_of([inner], "z", held))


def test_loops_of_many_trips_in_loops():
    wrap = node("Mod", ["y", "seven"], ["w"], fmod=1)
    inner, held = loop(body([wrap], held=[SEVEN]), 100, x="x", output="inner")
    inner.attribute[0].g.output[1].name = "w"
    graph = helper.make_graph(
        [inner, node("Identity", ["c"], ["going"])],
        "outer",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("x")],
        [value("going", TensorProto.BOOL), value("inner")],
        held,
    )
    outer, more = loop(graph, 100)
    same(model_of([outer], "z", more))


@pytest.mark.parametrize("most", [None, 1000])
def test_condition_of_data(most):
    inner = body(
        [node("ReduceSum", ["y"], ["s"], keepdims=0), node("Less", ["s", "end"], ["more"])],
        "more",
        [numpy_helper.from_array(np.float32(50), "end")],
    )
    held = [] if most is None else [numpy_helper.from_array(np.array(most), "most")]
    name = "" if most is None else "most"
    same(model_of([node("Loop", [name, "", "x"], ["z"], name="l", body=inner)], "z", held))


def with_rows(condition, extra=(), held=()):
    """A body that gives ``y`` as a row too."""
    graph = body([node("Identity", ["y"], ["row"]), *extra], condition, held)
    graph.output.append(value("row"))
    return graph


def test_rows_of_many_trips():
    graph = with_rows("c")
    trips = numpy_helper.from_array(np.array(3000), "trips")
    loop_node = node("Loop", ["trips", "", "x"], ["last", "rows"], name="l", body=graph)
    same(model_of([loop_node, node("Slice", ["rows", "at", "to"], ["z"])], "z", [
        trips,
        numpy_helper.from_array(np.array([2990]), "at"),
        numpy_helper.from_array(np.array([3000]), "to"),
    ]))  # fmt: skip


def ending_rows():
    """A loop of at most 40 trips that ends where the sum of ``y`` is 50."""
    graph = with_rows(
        "more",
        [node("ReduceSum", ["y"], ["s"], keepdims=0), node("Less", ["s", "end"], ["more"])],
        [numpy_helper.from_array(np.float32(50), "end")],
    )
    most = numpy_helper.from_array(np.array(40), "most")
    return node("Loop", ["most", "", "x"], ["last", "rows"], name="l", body=graph), most


def test_rows_that_data_ends_leave_the_network_with_their_number():
    loop_node, most = ending_rows()
    model, x = model_of([loop_node], "rows", [most]), random(2, 3)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    wanted = session.run(None, {"x": x})[0]
    rows, count = run(load_model(model), {"x": x})
    assert rows.shape == (40, 2, 3)
    assert count == len(wanted)
    np.testing.assert_allclose(rows[: len(wanted)], wanted, rtol=1e-5)
    assert not rows[len(wanted) :].any()


def test_rows_that_data_ends_are_summed_up_as_far_as_they_go():
    loop_node, most = ending_rows()
    last = node("ReduceMean", ["rows"], ["z"], name="mean")
    same(model_of([loop_node, last], "z", [most]))


def read_by_place(most):
    """Takes ``rows[i]`` until the sum is large, as TensorFlow's loops over a sequence do."""
    nodes = [
        node("Gather", ["rows", "n"], ["row"], axis=0),
        node("Add", ["s", "row"], ["t"]),
        node("Add", ["n", "step"], ["m"]),
        node("ReduceSum", ["t"], ["sum"], keepdims=0),
        node("Less", ["sum", "end"], ["small"]),
        node("Less", ["m", "size"], ["inside"]),
        node("And", ["small", "inside"], ["more"]),
        node("Mul", ["t", "t"], ["out"]),
    ]
    held = [
        numpy_helper.from_array(np.array(1), "step"),
        numpy_helper.from_array(np.array(50), "size"),
        numpy_helper.from_array(np.float32(most), "end"),
    ]
    inputs = [
        value("i", TensorProto.INT64, []),
        value("c", TensorProto.BOOL, []),
        value("n", TensorProto.INT64, []),
        value("s"),
    ]
    outputs = [value("more", TensorProto.BOOL), value("m", TensorProto.INT64), *map(value, "t")]
    graph = helper.make_graph(nodes, "body", inputs, [*outputs, value("out")], held)
    loop_node = node("Loop", ["", "", "zero", "x0"], ["n1", "s1", "all"], name="l", body=graph)
    constants = [
        numpy_helper.from_array(np.array(0), "zero"),
        numpy_helper.from_array(np.zeros((2, 3), "float32"), "x0"),
        numpy_helper.from_array(np.abs(random(50, 2, 3)), "rows"),
    ]
    last = [node("ReduceSum", ["all"], ["a"], keepdims=0), node("Add", ["a", "x"], ["z"])]
    return model_of([loop_node, *last], "z", constants)


@pytest.mark.parametrize("most", [20, 1e9])
def test_rows_are_no_more_than_what_is_taken(most):
    same(read_by_place(most))


def test_rows_written_at_a_place_of_run_time():
    nodes = [
        node("Add", ["n", "one1"], ["m"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Slice", ["x", "begin", "n1"], ["before"]),
        node("Unsqueeze", ["m", "axis"], ["m1"]),
        node("Slice", ["x", "m1", "far"], ["behind"]),
        node("Sin", ["r"], ["row"]),
        node("Concat", ["before", "row", "behind"], ["y"], axis=0),
        node("ReduceSum", ["y"], ["sum"], keepdims=0),
        node("Less", ["sum", "end"], ["small"]),
        node("Less", ["m", "two"], ["inside"]),
        node("And", ["small", "inside"], ["more"]),
    ]
    held = [
        numpy_helper.from_array(array, name)
        for name, array in {
            "begin": np.array([0]), "one1": np.array(1), "axis": np.array([0]),
            "far": np.array([2**31 - 1]), "end": np.float32(1e9), "two": np.array(2),
            "r": random(1, 3, seed=3),
        }.items()
    ]  # fmt: skip
    inputs = [
        value("i", TensorProto.INT64, []),
        value("c", TensorProto.BOOL, []),
        value("n", TensorProto.INT64, []),
        value("x"),
    ]
    outputs = [value("more", TensorProto.BOOL), value("m", TensorProto.INT64), value("y")]
    graph = helper.make_graph(nodes, "body", inputs, outputs, held)
    loop_node = node("Loop", ["", "", "zero", "x"], ["n2", "z"], name="l", body=graph)
    same(model_of([loop_node], "z", [numpy_helper.from_array(np.array(0), "zero")]))


def test_state_that_grows():
    """Short, it is written out; else it can't be computed."""
    inner = body([node("Concat", ["x", "y"], ["both"], axis=0)])
    inner.output[1].name = "both"
    loop_node, held = loop(inner, 3)
    same(model_of([loop_node], "z", held))
    loop_node, held = loop(inner, 3000)
    with pytest.raises(ModelError, match=r"it runs 3,000 times.*has the shape"):
        load_model(model_of([loop_node], "z", held))


@pytest.mark.parametrize("trips", [0, 1, 5])
def test_trip_count_of_data(trips):
    graph = helper.make_graph(
        [node("Loop", ["n", "", "x"], ["z"], name="l", body=body())],
        "g",
        [value("n", TensorProto.INT64, []), value("x", shape=[2])],
        [value("z", shape=[2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = random(2)
    got = run(load_model(model), {"n": np.array(trips), "x": x})[0]
    np.testing.assert_allclose(got, x + trips, rtol=1e-5)


def ran(case):
    """What the product makes of a drawn model, and what ONNX Runtime does."""
    session = onnxruntime.InferenceSession(case.model.SerializeToString())
    wanted = session.run(None, case.feeds)
    model = load_model(case.model)
    inputs = [case.feeds[spec.name] for spec in model.signature.inputs]
    return run_here(canonical(model.mod), targets.detect(), inputs)[0], wanted


def check_drawn(seed, monkeypatch):
    if seed % 3:  # keep all that can be
        monkeypatch.setattr("tvmcomp.frontend.onnx.loops.SHORT_NODES", 0)
    got, wanted = ran(LoopCase(seed))
    for mine, theirs in zip(got, wanted, strict=True):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(
            mine.astype("float64"), theirs.astype("float64"), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("seed", [*range(12), 20, 486])
def test_drawn_loops(seed, monkeypatch):
    check_drawn(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", sorted({*range(12, 534)} - {20, 486}))
def test_more_drawn_loops(seed, monkeypatch):
    check_drawn(seed, monkeypatch)
