"""A small file that asks for much is refused before the work, with the limit that it exceeds."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import check, operators, random, save

from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model
from tvmcomp.frontend.onnx.limits import DEEPEST_CALLS, FOLDED_ELEMENTS, HIGHEST_RANK, TensorLimits

node = helper.make_node
HUGE = 2**29


def _ints(*values):
    return np.array(values, "int64")


def _folded(tmp_path, last, weights, opset=18):
    """A model that adds the sum of ``b``, which ``last`` computes from constants, to its input."""
    nodes = [
        last,
        node("Cast", ["b"], ["f"], to=TensorProto.FLOAT),
        node("ReduceSum", ["f"], ["r"], keepdims=0),
        node("Add", ["x", "r"], ["y"]),
    ]
    return save(tmp_path / "m.onnx", nodes, {"x": (1, 4)}, ["y"], weights=weights, opset=opset)


ONE = np.ones(1, "float32")
GROWS = {
    "Expand": (["a", "s"], {"a": ONE, "s": _ints(HUGE)}),
    "Expand of several": (["a", "s"], {"a": ONE, "s": _ints(2**15, 2**14)}),
    "Expand past 64 bits": (["a", "s"], {"a": ONE, "s": _ints(2**40, 2**40)}),
    "Tile": (["a", "s"], {"a": ONE, "s": _ints(HUGE)}),
    "Pad": (["a", "s"], {"a": ONE, "s": _ints(0, HUGE)}),
    "ConstantOfShape": (["s"], {"s": _ints(HUGE)}),
    "Range": (["a", "s", "d"], {"a": np.array(0), "s": np.array(HUGE), "d": np.array(1)}),
    "OneHot": (
        ["i", "s", "v"],
        {"i": _ints(1, 2), "s": np.array(HUGE), "v": np.array([0, 1], "float32")},
    ),
    "HannWindow": (["s"], {"s": np.array(HUGE)}),
    "Mul": (["a", "b2"], {"a": np.ones((2**15, 1), "f4"), "b2": np.ones((1, 2**15), "f4")}),
    "Resize": (["a", "", "", "s"], {"a": np.ones((1, 1), "f4"), "s": _ints(2**15, 2**14)}),
}


@pytest.mark.parametrize("name", GROWS)
def test_constants_that_grow_are_refused(tmp_path, name):
    inputs, weights = GROWS[name]
    path = _folded(tmp_path, node(name.split()[0], inputs, ["b"]), weights)
    with pytest.raises(ModelError, match="the limit is"):
        load_model(path)


@pytest.mark.parametrize("name", ["Expand", "Tile", "Pad"])
def test_results_that_grow_are_refused(tmp_path, name):
    inputs, weights = GROWS[name]
    weights = {key: array for key, array in weights.items() if key != "a"}
    nodes = [node(name, inputs, ["b"]), node("ReduceSum", ["b"], ["y"], keepdims=0)]
    path = save(tmp_path / "m.onnx", nodes, {"a": (1,)}, ["y"], weights=weights, opset=18)
    with pytest.raises(ModelError, match="the limit is"):
        load_model(path)


def test_eye_like_of_a_large_shape(tmp_path):
    nodes = [
        node("Expand", ["a", "s"], ["e"]),
        node("EyeLike", ["e"], ["b"]),
        node("ReduceSum", ["b"], ["y"], keepdims=0),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"a": (1,)}, ["y"], weights={"s": _ints(2**15, 2**14)})
    with pytest.raises(ModelError, match="the limit is"):
        load_model(path)


def test_many_tensors_below_the_limit(tmp_path):
    nodes = [node("Expand", ["a", "s"], [f"e{i}"]) for i in range(40)]
    nodes += [node("Max", [f"e{i}" for i in range(40)], ["m"]), node("ReduceMax", ["m"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {"a": (1,)}, ["y"], weights={"s": _ints(2**26)})
    with pytest.raises(ModelError, match="its results take more"):
        load_model(path)


def test_the_limit_follows_inputs_and_weights():
    limits = TensorLimits(2**20, 2**30, where="m")
    assert limits.check("t", (2**31 - 1,), 4) == 2**33 - 4
    with pytest.raises(ModelError, match="elements"):
        limits.check("t", (2**31,), 1)


def test_large_inputs_are_refused(tmp_path):
    path = save(tmp_path / "m.onnx", [node("Relu", ["x"], ["y"])], {"x": (1, 2**40)}, ["y"])
    with pytest.raises(ModelError, match="inputs take"):
        load_model(path)


def test_what_is_too_large_to_fold_is_computed(tmp_path):
    count = 2 * FOLDED_ELEMENTS
    path = _folded(
        tmp_path, node("Expand", ["a", "s"], ["b"]), {"a": ONE, "s": _ints(1, 2, count // 2)}
    )
    assert "broadcast_to" in operators(load_model(path))


def test_products_of_constants_are_folded_or_computed_right(tmp_path):
    weights = {"a": random(1, 1, seed=3), "s": _ints(700, 700)}
    nodes = [
        node("Expand", ["a", "s"], ["e"]),
        node("Cast", ["e"], ["i"], to=TensorProto.INT32),
        node("MatMul", ["i", "i"], ["m"]),
        node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        node("ReduceMax", ["f"], ["r"], keepdims=0),
        node("Add", ["x", "r"], ["y"]),
    ]
    check(
        save(tmp_path / "m.onnx", nodes, {"x": (1, 4)}, ["y"], weights=weights),
        {"x": random(1, 4)},
    )


@pytest.mark.parametrize("k, shape", [(10**9, (1, 4)), (-1, (1, 4)), (5, (1, 4))])
@pytest.mark.parametrize("opset", [9, 18])
def test_top_k_of_more_than_there_is(tmp_path, k, shape, opset):
    if opset == 9:
        nodes, weights = [node("TopK", ["x"], ["y", "i"], k=k)], {}
    else:
        nodes, weights = [node("TopK", ["x", "k"], ["y", "i"])], {"k": _ints(k)}
    path = save(tmp_path / "m.onnx", nodes, {"x": shape}, ["y"], weights=weights, opset=opset)
    with pytest.raises(ModelError, match="TopK"):
        load_model(path)


def test_einsum_of_many_operands(tmp_path):
    letters = [chr(ord("b") + i) for i in range(20)]
    equation = ",".join("a" + letter for letter in letters) + "->a"
    path = save(
        tmp_path / "m.onnx", [node("Einsum", ["x"] * 20, ["y"], equation=equation)],
        {"x": (1, 4)}, ["y"],
    )  # fmt: skip
    with pytest.raises(ModelError, match="20 operands"):
        load_model(path)


def test_split_to_sequence_of_a_long_axis(tmp_path):
    nodes = [
        node("SplitToSequence", ["x", "one"], ["q"]),
        node("SequenceAt", ["q", "zero"], ["y"]),
    ]
    weights = {"one": np.array(1), "zero": np.array(0)}
    path = save(tmp_path / "m.onnx", nodes, {"x": (2**24,)}, ["y"], weights=weights)
    with pytest.raises(ModelError, match="the limit is"):
        load_model(path)


def test_rank(tmp_path):
    shape = [1] * (HIGHEST_RANK + 1)
    path = save(
        tmp_path / "m.onnx", [node("Reshape", ["x", "s"], ["r"]), node("Relu", ["r"], ["y"])],
        {"x": (1, 1)}, ["y"], weights={"s": _ints(*shape)},
    )  # fmt: skip
    with pytest.raises(ModelError, match="dimensions; the limit"):
        load_model(path)


def _function(name: str, callee: str, calls: int):
    domain = "" if callee == "Relu" else "my"
    names = ["a", *(f"t{i}" for i in range(calls - 1)), "b"]
    nodes = [node(callee, [names[i]], [names[i + 1]], domain=domain) for i in range(calls)]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    return helper.make_function("my", name, ["a"], ["b"], nodes, opsets)


@pytest.mark.parametrize(
    "depth, calls, expected",
    [(9, 10, "1,000,000,000 nodes"), (5000, 1, "call each other"), (60, 2, "nodes; the limit")],
)
def test_functions(tmp_path, depth, calls, expected):
    functions = [_function("f0", "Relu", 1)]
    functions += [_function(f"f{i + 1}", f"f{i}", calls) for i in range(depth)]
    path = save(
        tmp_path / "m.onnx", [node(f"f{depth}", ["x"], ["y"], domain="my")], {"x": (1,)}, ["y"],
        functions=functions, opsets=[helper.make_opsetid("my", 1)],
    )  # fmt: skip
    with pytest.raises(ModelError, match=expected):
        load_model(path)


def test_a_function_that_calls_itself(tmp_path):
    path = save(
        tmp_path / "m.onnx", [node("f", ["x"], ["y"], domain="my")], {"x": (1,)}, ["y"],
        functions=[_function("f", "f", 1)], opsets=[helper.make_opsetid("my", 1)],
    )  # fmt: skip
    with pytest.raises(ModelError, match="for ever"):
        load_model(path)


def test_functions_within_the_limits(tmp_path):
    functions = [_function("f0", "Relu", 1)]
    functions += [_function(f"f{i + 1}", f"f{i}", 2) for i in range(5)]
    path = save(
        tmp_path / "m.onnx", [node("f5", ["x"], ["y"], domain="my")], {"x": (1,)}, ["y"],
        functions=functions, opsets=[helper.make_opsetid("my", 1)],
    )  # fmt: skip
    assert operators(load_model(path)) == ["nn.relu"] * 32
    assert DEEPEST_CALLS > 5


def test_a_network_that_computes_nothing(tmp_path):
    path = save(tmp_path / "m.onnx", [node("Identity", ["x"], ["y"])], {"x": (2,)}, ["y"])
    assert operators(load_model(path)) == []


def test_resize_by_a_large_matrix(tmp_path):
    nodes = [node("Resize", ["x", "", "", "s"], ["y"], mode="cubic")]
    weights = {"s": _ints(1, 1, 1, 2**21)}
    path = save(tmp_path / "m.onnx", nodes, {"x": (1, 1, 1, 4096)}, ["y"], weights=weights)
    with pytest.raises(ModelError, match="which is the limit"):
        load_model(path)


def test_memory_of_a_large_vector(tmp_path):
    """onnx's data propagation held 100 bytes for each element of it."""
    path = _folded(
        tmp_path, node("Expand", ["a", "s"], ["b"]), {"a": ONE, "s": _ints(2 * FOLDED_ELEMENTS)}
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB
