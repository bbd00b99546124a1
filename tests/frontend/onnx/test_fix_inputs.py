"""Inputs that are always the same become constants, and what they choose is chosen."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import operators, run, save

from tvmcomp.cli.binding_options import parse_fixed
from tvmcomp.errors import ConfigError, ModelError
from tvmcomp.frontend import load_model

node = helper.make_node


@pytest.fixture
def model(tmp_path):
    """At a rate of 8 x is added to itself, else multiplied by what has another shape than x."""

    def branch(*nodes):
        result = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
        return helper.make_graph(list(nodes), "branch", [], [result])

    nodes = [
        node("Equal", ["rate", "eight"], ["is_eight"]),
        node(
            "If", ["is_eight"], ["y"],
            then_branch=branch(node("Add", ["x", "x"], ["r"])),
            else_branch=branch(node("MatMul", ["x", "w"], ["r"])),
        ),
    ]  # fmt: skip
    return save(
        tmp_path / "m.onnx", nodes, {"x": (2, 3), "rate": ()}, ["y"],
        weights={"eight": np.int64(8), "w": np.ones((5, 4), "float32")},
        types={"rate": TensorProto.INT64},
    )  # fmt: skip


def test_the_branch_that_a_fixed_input_chooses_is_all_there_is(model):
    loaded = load_model(model, fixed={"rate": 8})
    assert [spec.name for spec in loaded.signature.inputs] == ["x"]
    assert operators(loaded) == ["add"]
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(run(loaded, {"x": x})[0], x + x)


def test_a_branch_that_makes_no_sense_asks_for_the_value(model):
    with pytest.raises(ModelError, match="--fix"):
        load_model(model)


@pytest.mark.parametrize("senseless", ["then_branch", "else_branch"])
def test_the_branch_that_makes_no_sense_may_give_no_type(tmp_path, senseless):
    """Nothing is known of the result that the senseless branch gives, and another node reads it."""
    nodes = {
        "then_branch": [node("Relu", ["x"], ["r"])],
        "else_branch": [node("Relu", ["x"], ["r"])],
        senseless: [
            node("Unsqueeze", ["x", "axis"], ["x_5"]),
            node("LSTM", ["x_5", "w", "w"], ["", "r"], hidden_size=3),
        ],
    }
    branches = {
        name: helper.make_graph(inner, name, [], [onnx.ValueInfoProto(name="r")])
        for name, inner in nodes.items()
    }
    path = save(
        tmp_path / "m.onnx", [node("If", ["taken"], ["y"], **branches), node("Neg", ["y"], ["z"])],
        {"x": (1, 1, 2, 3), "taken": ()}, ["z"],
        weights={"axis": np.array([0]), "w": np.ones((1, 12, 3), "float32")},
        types={"taken": TensorProto.BOOL},
    )  # fmt: skip
    with pytest.raises(ModelError, match="--fix"):
        load_model(path)
    x = np.ones((1, 1, 2, 3), "float32")
    loaded = load_model(path, fixed={"taken": senseless == "else_branch"})
    np.testing.assert_array_equal(run(loaded, {"x": x})[0], -x)


@pytest.mark.parametrize(
    ("fixed", "error", "words"),
    [
        ({"speed": 8}, ModelError, "no input 'speed'"),
        ({"rate": [8, 9]}, ModelError, "shape"),
        ({"rate": 8.5}, ModelError, "int64"),
        ({"x": [[1, 2, 3]]}, ModelError, "shape"),
        ({"rate": "8"}, ConfigError, "numbers"),
        ({"rate": [[1], [2, 3]]}, ConfigError, "numbers"),
        ([8], ConfigError, "not a dict"),
    ],
)
def test_values_that_the_input_cannot_take(model, fixed, error, words):
    with pytest.raises(error, match=words):
        load_model(model, fixed=fixed)


def test_what_has_a_value_needs_no_shape(model):
    with pytest.raises(ConfigError, match="'rate' is given a shape and a value"):
        load_model(model, shapes={"rate": ()}, fixed={"rate": 8})


def test_options():
    assert parse_fixed(("sr=16000", "k=0.5,1", "a=b=1")) == {
        "sr": [16000], "k": [0.5, 1.0], "a=b": [1],
    }  # fmt: skip
