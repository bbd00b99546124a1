"""Files that lie about themselves: one error, and no memory to speak of."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from tflite_models import Graph, Op, Tensor, constant, model

from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model
from tvmcomp.frontend.tflite.sparse import Dimension, densify

HUGE = 2**31 - 1


def ints(*values: object) -> np.ndarray:
    return np.array(values, "int32")


def one(kind: str, tensors: list[Tensor], options: str = "", **fields: object) -> Graph:
    """An operator on all tensors but the last, which it makes; `x` is the input."""
    names = [each.name for each in tensors]
    return Graph(tensors, [Op(kind, names[:-1], names[-1:], options, fields)], ["x"], names[-1:])


X, Y = Tensor("x", (1, 4)), Tensor("y", (1, 4))
REFUSED = {
    "a mirror of a huge axis": (
        one("MIRROR_PAD", [Tensor("x", (HUGE,)), constant("p", ints((1, 1))), Y],
            "MirrorPadOptions", Mode=1), "it pads an axis"),
    "a huge diagonal": (one("MATRIX_DIAG", [Tensor("x", (HUGE,)), Y]), "too large"),
    "a huge state": (
        Graph([X, Tensor("s", (HUGE,), variable=True), Y], [Op("ADD", ["x", "s"], ["y"])], ["x"],
              ["y"]), "too large"),
    "a constant of fewer bytes": (
        one("ADD", [X, Tensor("c", (9, 9), data=np.ones(3, "f4")), Y]), "takes 324 bytes; 12 are"),
    "scales that don't fit": (
        one("ADD", [X, constant("c", np.ones((1, 4), "int8"), scale=[1, 2, 3], zero=[0, 0, 0]),
                    Y]), "3 scales along axis 0"),
    "a tensor read before it is made": (
        Graph([X, Tensor("a", (1, 4)), Y],
              [Op("ADD", ["x", "a"], ["y"]), Op("ABS", ["x"], ["a"])], ["x"], ["y"]), "before it"),
    "a tensor made twice": (
        Graph([X, Y], [Op("ABS", ["x"], ["y"]), Op("NEG", ["x"], ["y"])], ["x"], ["y"]), "already"),
    "an output that nothing makes": (
        Graph([X, Y, Tensor("z", (1,))], [Op("ABS", ["x"], ["y"])], ["x"], ["z"]), "no output 'z'"),
    "an operator that there is none of": (one("HASHTABLE_FIND", [X, Y]), "HASHTABLE_FIND: y"),
    "a custom operator": (one("MyOwn", [X, Y]), "custom MyOwn: y"),
    "a branch into itself": (
        Graph([Tensor("x", (1,), "bool"), Tensor("y", (1,), "bool")],
              [Op("CALL", ["x"], ["y"], "CallOptions", {"Subgraph": 0})], ["x"], ["y"]),
        "subgraph 0 of 1"),
    "a stride of 0": (
        one("MAX_POOL_2D", [Tensor("x", (1, 4, 4, 1)), Y], "Pool2DOptions", FilterHeight=2,
            FilterWidth=2), "strides"),
    "another operator's attributes": (
        one("ADD", [X, constant("c", np.ones((1, 4), "f4")), Y], "ConcatenationOptions"),
        "attributes ConcatenationOptions"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory):
    """What is imported at the first file takes memory of its own, and long where it is traced."""
    path = tmp_path_factory.mktemp("whole") / "m.tflite"
    path.write_bytes(model(one("ABS", [X, Y])))
    load_model(path)


@pytest.mark.parametrize("name", REFUSED)
def test_one_error(tmp_path, name):
    graph, text = REFUSED[name]
    path = tmp_path / "m.tflite"
    path.write_bytes(model(graph))
    load = lambda: load_model(path)  # noqa: E731
    tracemalloc.start()
    with pytest.raises(ModelError, match=text) as caught:
        load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 28
    assert caught.value.where == str(path) and caught.value.hint


def test_subgraphs_that_run_each_other_end(tmp_path):
    def graph(other: int) -> Graph:
        return Graph([X, Y], [Op("CALL", ["x"], ["y"], "CallOptions", {"Subgraph": other})], ["x"],
                     ["y"])  # fmt: skip

    path = tmp_path / "m.tflite"
    path.write_bytes(model(graph(1), graph(2), graph(1)))
    with pytest.raises(ModelError, match="without an end"):
        load_model(path)


@pytest.mark.parametrize("cut", [8, 12, 40, 200])
def test_a_file_cut_off(tmp_path, cut):
    path = tmp_path / "m.tflite"
    path.write_bytes(model(one("ADD", [X, constant("c", np.ones((1, 4), "f4")), Y]))[:cut])
    with pytest.raises(ModelError, match=r"can be read|damaged|ends|truncated"):
        load_model(path)


def test_sparse_tensors():
    """A matrix of rows of which some elements are stored, plain and in blocks of 2 x 2."""
    dense = np.array([[1, 0, 0, 2], [0, 0, 0, 0], [0, 3, 4, 0]], "f4")
    rows = Dimension(None, np.array([0, 2, 2, 4]), np.array([0, 3, 1, 2]))
    given = densify(np.array([1, 2, 3, 4], "f4"), (3, 4), [Dimension(3), rows], [0, 1], [])
    np.testing.assert_array_equal(given, dense)
    block = np.array([5, 6, 7, 8], "f4")
    columns = Dimension(None, np.array([0, 0, 1]), np.array([1]))
    inner = [Dimension(2), columns, Dimension(2), Dimension(2)]
    given = densify(block, (4, 4), inner, [0, 1, 2, 3], [0, 1])
    wanted = np.zeros((4, 4), "f4")
    wanted[2:, 2:] = [[5, 6], [7, 8]]
    np.testing.assert_array_equal(given, wanted)
    for wrong in (
        [Dimension(3), Dimension(None, np.array([0, 2]), np.array([0, 3]))],
        [Dimension(3), Dimension(None, np.array([0, 2, 2, 4]), np.array([0, 9, 1, 2]))],
        [Dimension(10**9), rows],
    ):
        with pytest.raises(ValueError):
            densify(np.array([1, 2, 3, 4], "f4"), (3, 4), wrong, [0, 1], [])
