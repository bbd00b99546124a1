"""What a Split takes apart of a constant, as shape arithmetic does, is known."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tvmcomp.frontend.onnx.fold import simplify
from tvmcomp.frontend.onnx.limits import TensorLimits

node = helper.make_node


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    return simplify(model, TensorLimits(1 << 20, 1 << 20, where="the model"))


def model(nodes: list[Any], outputs: list[str], opset: int, **held: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 7])],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "float16", "int8", "bfloat16"])
def test_each_form_gives_its_parts(dtype):
    data = np.arange(21).reshape(3, 7).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    for axis, sizes in itertools.product((0, 1, -1, -2), ([2, 1], [4, 0, 3], [3, 0], [7], None)):
        size = data.shape[axis]
        if sizes is not None and sum(sizes) != size:
            continue
        names = [f"y{i}" for i in range(len(sizes) if sizes else 2)]
        ends = np.cumsum(sizes)[:-1] if sizes else [-(-size // 2)]
        wanted = np.split(data, ends, axis)
        for opset in (11, 13, 18) if dtype != "bfloat16" else (13, 18):
            attributes: dict[str, Any] = {"axis": axis}
            inputs, held = ["c"], {"c": data}
            if opset == 11 and sizes:
                attributes["split"] = sizes
            elif sizes:
                inputs, held = ["c", "s"], {"c": data, "s": np.array(sizes)}
            elif opset == 18:
                attributes["num_outputs"] = 2
            elif size % 2:
                continue
            made = folded(model([node("Split", inputs, names, **attributes)], names, opset, **held))
            assert not made.graph.node
            arrays = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}
            for name, want in zip(names, wanted, strict=True):
                assert arrays[name].dtype == data.dtype
                np.testing.assert_array_equal(arrays[name], want)


def test_shape_arithmetic_through_a_split():
    nodes = [
        node("Shape", ["x"], ["shape"]), node("Split", ["shape", "ones"], ["rows", "columns"]),
        node("Div", ["columns", "two"], ["half"]),
        node("Concat", ["rows", "half"], ["end"], axis=0),
        node("Slice", ["x", "zeros", "end"], ["y"]),
    ]  # fmt: skip
    held = {"ones": np.array([1, 1]), "two": np.array([2]), "zeros": np.array([0, 0])}
    (left,) = folded(model(nodes, ["y"], 13, **held)).graph.node
    assert left.op_type == "Slice"


def test_a_part_that_nothing_reads():
    made = folded(model(
        [node("Split", ["c", "s"], ["", "b"]), node("Add", ["x", "b"], ["y"])], ["y"], 13,
        c=np.arange(14, dtype="float32").reshape(2, 7), s=np.array([1, 1]),
    ))  # fmt: skip
    assert [each.op_type for each in made.graph.node] == ["Add"]
