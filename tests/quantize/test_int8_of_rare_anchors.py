"""int8 builds of anchors whose weights are not stored as most are: the probe finds each of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmcomp

RNG = np.random.default_rng(0)


def network(multiplier: int, columns: int) -> onnx.ModelProto:
    """A convolution, a depthwise one of ``multiplier`` results a channel, a product."""
    weights = {
        "w0": RNG.standard_normal((8, 3, 3, 3)),
        "w1": RNG.standard_normal((8 * multiplier, 1, 3, 3)),
        "w2": RNG.standard_normal((8 * multiplier, columns)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, columns])],
        [numpy_helper.from_array(w.astype("float32"), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(
    ("multiplier", "columns"),
    [
        (3, 5),
        pytest.param(1, 1, marks=pytest.mark.slow),
        pytest.param(4, 1, marks=pytest.mark.slow),
    ],
)
def test_int8_is_near_float(multiplier, columns):
    model = network(multiplier, columns)
    samples = [{"x": RNG.standard_normal((1, 3, 12, 12)).astype("float32")} for _ in range(8)]
    outputs = []
    for options in ({}, {"quant": "int8", "calibration": samples}):
        artifact = tvmcomp.build(model, log="none", **options)
        with tvmcomp.load(artifact) as session:
            outputs.append(np.concatenate([session.run(each)["y"] for each in samples]))
    exact, rounded = outputs
    assert np.abs(rounded - exact).max() <= 0.05 * np.abs(exact).max()
