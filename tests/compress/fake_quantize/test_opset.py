"""A later operator set: the same numbers, in a graph as the rest of compression wants it."""

from __future__ import annotations

from needed import package

package("torch", "compress")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

from tvmcomp.compress.fake_quantize.opset import at_least  # noqa: E402


def model_of_set_11():
    """Two reductions, whose axes become constants that are read, in set 18."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["a"], "mean", axes=[1], keepdims=1),
        helper.make_node("ReduceMax", ["x"], ["b"], "max", axes=[2], keepdims=1),
        helper.make_node("Add", ["a", "b"], ["s"], "sum"),
        helper.make_node("Unsqueeze", ["s"], ["y"], "wide", axes=[0]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 3, 4])
    graph = helper.make_graph(nodes, "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def run(model, x):
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=providers)
    return session.run(None, {"x": x})[0]


def test_what_the_converter_adds_is_prepared_as_all_else():
    model = model_of_set_11()
    converted = at_least(model, 21)
    assert converted.opset_import[0].version == 21
    names = [node.name for node in converted.graph.node]
    assert all(names) and len(set(names)) == len(names)
    assert not any(node.op_type == "Constant" for node in converted.graph.node)
    onnx.checker.check_model(converted)
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("f4")
    assert np.array_equal(run(converted, x), run(model, x))


def test_a_set_that_is_late_enough_is_left():
    model = at_least(model_of_set_11(), 21)
    assert at_least(model, 18) is model
