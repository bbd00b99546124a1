"""What can't be compressed is refused before anything is done."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from needed import package
from onnx import TensorProto, helper, numpy_helper

package("torch", "compress")

import tvmcomp  # noqa: E402
from tvmcomp.errors import ModelError  # noqa: E402

node = helper.make_node


def value(name, kind=TensorProto.FLOAT, shape=(2, 3)):
    return helper.make_tensor_value_info(name, kind, shape)


def looped(trips):
    """y = w x, and then so often y = tanh(y)."""
    body = helper.make_graph(
        [node("Tanh", ["s"], ["t"]), node("Identity", ["c"], ["going"])],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("s")],
        [value("going", TensorProto.BOOL, []), value("t")],
    )
    return [node("Loop", ["trips", "", "p"], ["y"], name="again", body=body)], {
        "trips": np.array(trips)
    }


def branched():
    """y = |w x| where its sum is below 0, else -w x."""
    branches = {
        key: helper.make_graph([node(kind, ["p"], [key])], key, [], [value(key)])
        for key, kind in (("then_branch", "Abs"), ("else_branch", "Neg"))
    }
    nodes = [node("ReduceSum", ["p"], ["sum"], keepdims=0), node("Less", ["sum", "zero"], ["low"])]
    return [*nodes, node("If", ["low"], ["y"], name="either", **branches)], {"zero": np.float32(0)}


def written(path, nodes, constants):
    constants = {"w": np.eye(3, dtype="float32"), **constants}
    graph = helper.make_graph(
        [node("MatMul", ["x", "w"], ["p"]), *nodes],
        "course",
        [value("x")],
        [value("y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize("options", [{}, {"quant": "int8"}, {"distil": True}, {"prune": True}])
@pytest.mark.parametrize(
    "made, text",
    [(looped(5000), r"'again.*is a loop of many trips"), (branched(), r"'either.*is a branch")],
)
def test_a_course_that_is_not_straight_is_refused(tmp_path, made, text, options):
    path = written(tmp_path / "m.onnx", *made)
    samples = [{"x": np.zeros((2, 3), "float32")}] * 8
    with pytest.raises(ModelError, match=text) as refused:
        tvmcomp.compress(path, tmp_path / "o.onnx", samples, measure=False, **options)
    assert "tvmcomp build" in refused.value.hint
    assert not (tmp_path / "o.onnx").exists()


def test_a_short_loop_is_compressed(tmp_path):
    path = written(tmp_path / "m.onnx", *looped(3))
    rng = np.random.default_rng(0)
    samples = [{"x": rng.normal(size=(2, 3)).astype("float32")} for _ in range(40)]
    result = tvmcomp.compress(path, None, samples, measure=False, quant="int8", max_drop=50)
    assert "Loop" not in {each.op_type for each in result.model.graph.node}
