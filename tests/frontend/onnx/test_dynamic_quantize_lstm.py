"""LSTM layers as ``quantize_dynamic`` writes them, a product behind them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import save
from onnxruntime.quantization import QuantType, quantize_dynamic
from precise_onnxruntime import precise_onnxruntime

import tvmcomp
from tvmcomp.errors import ModelError


def network(path, steps, batch, width, units, directions, seed):
    """An LSTM and a product with its states, quantized; what to feed it."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.uniform(-1, 1, shape).astype(np.float32)

    weights = {
        "W": draw(directions, 4 * units, width) / np.float32(np.sqrt(width)),
        "R": draw(directions, 4 * units, units) / np.float32(np.sqrt(units)),
        "B": draw(directions, 8 * units) / 4,
        "M": draw(directions * units, 7),
        "first": np.array([0, 1]),
        "rest": np.array([-1]),
    }
    direction = "bidirectional" if directions == 2 else "forward"
    nodes = [
        helper.make_node(
            "LSTM", ["X", "W", "R", "B"], ["Y"], "lstm", hidden_size=units, direction=direction
        ),
        helper.make_node("Transpose", ["Y"], ["T"], perm=[0, 2, 1, 3]),
        # As exporters write it: the layer's shape must be known where it is folded.
        helper.make_node("Shape", ["T"], ["all"]),
        helper.make_node("Gather", ["all", "first"], ["begin"]),
        helper.make_node("Concat", ["begin", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["T", "shape"], ["S"]),
        helper.make_node("MatMul", ["S", "M"], ["Z"], "product"),
    ]
    x = draw(steps, batch, width)
    save(path, nodes, {"X": x.shape}, ["Y", "Z"], weights=weights)
    return {"X": x}


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("size", [(5, 1, 8, 16, 1), (10, 3, 17, 33, 2), (7, 8, 20, 64, 2)])
def test_as_onnx_runtime(tmp_path, size, per_channel):
    feeds = network(tmp_path / "float.onnx", *size, seed=sum(size))
    path = tmp_path / "quantized.onnx"
    quantize_dynamic(
        tmp_path / "float.onnx", path, weight_type=QuantType.QInt8, per_channel=per_channel
    )
    artifact = tvmcomp.build(path, log="none", reference=False)
    types = {operator.kind: operator.dtype for operator in artifact.metadata.operators}
    assert types["tvmcomp.recurrent"] == types["matmul"] == "int8"
    with tvmcomp.load(artifact) as session:
        ours = session.run(feeds)
    states, products = precise_onnxruntime(path).run(["Y", "Z"], feeds)
    np.testing.assert_allclose(ours["Y"], states, rtol=0, atol=1e-6)
    # A state at a tie goes one step of 255 to either side.
    difference = np.abs(ours["Z"] - products)
    assert np.median(difference) < 1e-6
    assert difference.max() <= np.ptp(states) / 255


@pytest.mark.parametrize(
    ("position", "says"), [(2, "its R is"), (8, "scale or zero point of its W is")]
)
def test_wrong_shapes(tmp_path, position, says):
    network(tmp_path / "float.onnx", 3, 1, 4, 5, 1, seed=0)
    path = tmp_path / "quantized.onnx"
    quantize_dynamic(tmp_path / "float.onnx", path)
    model = onnx.load(path)
    node = next(node for node in model.graph.node if node.op_type == "DynamicQuantizeLSTM")
    tensor = next(t for t in model.graph.initializer if t.name == node.input[position])
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.concatenate([array, array], -1), tensor.name))
    onnx.save(model, path)
    with pytest.raises(ModelError, match=says):
        tvmcomp.build(path, log="none", reference=False)
