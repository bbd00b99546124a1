"""Constants whose functions have no finite value are folded, and nothing is said of it."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tvmcomp.frontend.onnx.fold import simplify
from tvmcomp.frontend.onnx.limits import TensorLimits

HARD = np.array([0, -1, 2, 1e30, -1e30, np.inf, -np.inf, np.nan], "float32")
UNARY = [
    "Log",
    "Sqrt",
    "Reciprocal",
    "Exp",
    "Cosh",
    "Sinh",
    "Tan",
    "Acos",
    "Acosh",
    "Atanh",
    "Sin",
    "Erf",
    "Softplus",
    "Elu",
]
BINARY = ["Add", "Sub", "Mul", "Div", "Pow"]


def nodes(operator: str) -> list[onnx.NodeProto]:
    if operator == "Cast":
        return [helper.make_node("Cast", ["hard"], ["y"], to=TensorProto.INT64)]
    inputs = ["hard", "turned"] if operator in BINARY else ["hard"]
    return [helper.make_node(operator, inputs, ["y"])]


@pytest.mark.parametrize("operator", [*UNARY, *BINARY, "Cast", "ReduceLogSumExp", "ReduceMean"])
def test_no_warning_of_what_is_folded(operator):
    kind = TensorProto.INT64 if operator == "Cast" else TensorProto.FLOAT
    held = {"hard": HARD, "turned": HARD[::-1].copy()}
    graph = helper.make_graph(
        nodes(operator), "g", [], [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = simplify(model, TensorLimits(1 << 20, 1 << 20, where="the model"))
    assert not any(each.op_type == operator for each in made.graph.node)
