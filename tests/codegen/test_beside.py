"""Two things at once, the second in a child, and what becomes of it where that fails."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

import tvmcomp
from tvmcomp.codegen import beside, code_target
from tvmcomp.codegen.beside import both
from tvmcomp.codegen.native import kernels


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.setattr(beside, "default_threads", lambda: 2)


def test_the_second_is_made_in_a_child():
    here, there = both(os.getpid, lambda: str(os.getpid()).encode())
    assert here == os.getpid() != int(there)


def test_more_than_a_pipe_holds_arrives_whole():
    many = np.random.default_rng(0).bytes(1 << 22)
    assert both(lambda: None, lambda: many) == (None, many)


def test_without_a_second_core_both_are_made_here(monkeypatch):
    monkeypatch.setattr(beside, "default_threads", lambda: 1)
    here, there = both(os.getpid, lambda: str(os.getpid()).encode())
    assert here == int(there)


def test_what_a_child_can_t_do_is_done_here():
    parent = os.getpid()
    assert both(lambda: 1, lambda: b"here" if os.getpid() == parent else _fails()) == (1, b"here")


def test_a_child_that_waits_for_ever_is_ended(monkeypatch):
    monkeypatch.setattr(beside, "_LEAST_SECONDS", 0.05)
    parent, before = os.getpid(), _children()
    assert both(lambda: 1, lambda: b"" if os.getpid() == parent else time.sleep(99)) == (1, b"")
    assert _children() <= before


@pytest.mark.parametrize("at", [0, 1])
def test_an_error_is_raised_here(at):
    makers = [lambda: b"", lambda: b""]
    makers[at] = _fails
    with pytest.raises(RuntimeError, match="no"):
        both(*makers)


def test_kernels_in_halves_give_the_same_numbers(monkeypatch, network):
    monkeypatch.setattr(code_target, "MANY_KERNELS", 2)
    monkeypatch.setattr(kernels, "MANY_KERNELS", 2)
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    options = {"quant": "int8", "calibration": [{"x": x}] * 3}
    given = _outputs(tvmcomp.build(network, **options), x)
    monkeypatch.setattr(code_target, "MANY_KERNELS", 1 << 20)
    monkeypatch.setattr(kernels, "MANY_KERNELS", 1 << 20)
    expected = _outputs(tvmcomp.build(network, **options), x)
    np.testing.assert_array_equal(given, expected)


@pytest.fixture
def network():
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape).astype("f4") for shape in ((8, 3, 3, 3), (4, 8, 1, 1))]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["b", "w1"], ["c"]),
        helper.make_node("Softmax", ["c"], ["y"], axis=1),
    ]
    ends = [
        helper.make_tensor_value_info("x", 1, [1, 3, 8, 8]),
        helper.make_tensor_value_info("y", 1, [1, 4, 4, 4]),
    ]
    inits = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], inits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _outputs(artifact, x):
    with tvmcomp.load(artifact) as session:
        return session.run({"x": x})["y"]


def _children() -> set[str]:
    """Processes that this one started, ended ones that nobody waited for among them."""
    lists = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {child for each in lists for child in each.read_text().split()}


def _fails():
    raise RuntimeError("no")


def test_kernels_are_one_piece_where_no_library_can_be_loaded(monkeypatch, network):
    monkeypatch.setattr(code_target, "MANY_KERNELS", 2)
    halves = []
    monkeypatch.setattr(code_target, "_in_halves", lambda *args: halves.append(_halved(*args)))
    monkeypatch.setattr(code_target.tvm.runtime, "load_module", lambda path: _fails())
    x = np.ones((1, 3, 8, 8), np.float32)
    artifact = tvmcomp.build(network, quant="int8", calibration=[{"x": x}] * 3)
    assert halves and halves == [None] * len(halves)
    assert _outputs(artifact, x).shape == (1, 4, 4, 4)


_halved = code_target._in_halves
