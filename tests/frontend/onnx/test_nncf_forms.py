"""Q/DQ as NNCF writes it: float biases, data of depthwise convolutions with a scale a channel,
weights' scales of several dimensions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import save
from quantized_meaning import faults, with_all_outputs

import tvmcomp


class Network:
    """Nodes and weights of a network under construction."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def constant(self, array) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array)
        return name

    def add(self, operator: str, *inputs: str, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def quantized(self, x: str, zero_point, scale=0.03, axis=None) -> str:
        """Q and DQ of ``x``."""
        params = [self.constant(np.float32(scale)), self.constant(zero_point)]
        along = {} if axis is None else {"axis": axis}
        integers = self.add("QuantizeLinear", x, *params, **along)
        return self.add("DequantizeLinear", integers, *params, **along)

    def convolution(self, x: str, outputs: int, inputs: int, groups=1, size=3, pad=1) -> str:
        """Of int8 weights and a float bias that is no number of units."""
        values = self.rng.integers(-127, 128, (outputs, inputs, size, size), "int8")
        scale = self.rng.uniform(1, 2, outputs).astype("float32") / (90 * size * np.sqrt(inputs))
        weight = self.add(
            "DequantizeLinear", self.constant(values), self.constant(scale.astype("float32")),
            self.constant(np.zeros(outputs, "int8")), axis=0,
        )  # fmt: skip
        bias = self.constant(self.rng.normal(size=outputs).astype("float32"))
        return self.add("Conv", x, weight, bias, group=groups, pads=[pad] * 4)

    def save(self, path, last: str):
        model = onnx.load(
            save(path, self.nodes, {"x": (1, 6, 9, 9)}, [last], weights=self.weights, opset=18)
        )
        onnx.save(with_all_outputs(model), path)
        return onnx.load(path)


@pytest.mark.parametrize(
    ("dtype", "zeros", "times", "pad"),
    [("uint8", "equal", 1, 1), ("int8", "several", 1, 0), ("uint8", "several", 2, 0),
     ("int8", "equal", 2, 1)],
)  # fmt: skip
def test_data_of_a_depthwise_convolution_with_a_scale_a_channel(tmp_path, dtype, zeros, times, pad):
    network, channels = Network(seed=times), 16
    x = network.quantized("x", np.uint8(128), 0.05)
    x = network.add("Relu", network.convolution(x, channels, 6))
    low = np.iinfo(dtype).min
    zero_points = np.full(channels, low, dtype)
    if zeros == "several":
        zero_points += network.rng.integers(0, 40, channels).astype(dtype)
    scales = network.rng.uniform(0.01, 0.05, channels)
    x = network.quantized(x, zero_points, scales, axis=1)
    x = network.convolution(x, channels * times, 1, groups=channels, pad=pad)
    x = network.quantized(network.add("Relu", x), np.uint8(0))
    x = network.quantized(network.convolution(x, 5, channels * times, size=1, pad=0), np.uint8(99))
    model = network.save(tmp_path / "m.onnx", x)
    artifact = tvmcomp.build(tmp_path / "m.onnx", log="none", reference=False)
    anchors = [op for op in artifact.metadata.operators if op.kind == "nn.conv2d"]
    assert [op.dtype for op in anchors] == ["int8"] * 3
    feeds = {"x": network.rng.normal(size=(1, 6, 9, 9)).astype("float32")}
    with tvmcomp.load(artifact) as session:
        assert not faults(model, feeds, session.run(feeds))


@pytest.mark.parametrize("pad", [0, 1])
def test_channels_of_several_scales_are_not_added_up_in_integers(tmp_path, pad):
    network = Network(seed=5)
    scales = network.rng.uniform(0.01, 0.05, 6)
    x = network.quantized("x", network.rng.integers(0, 40, 6, "uint8"), scales, axis=1)
    x = network.quantized(network.convolution(x, 8, 6, pad=pad), np.uint8(128))
    model = network.save(tmp_path / "m.onnx", x)
    feeds = {"x": network.rng.normal(size=(1, 6, 9, 9)).astype("float32")}
    with tvmcomp.load(tvmcomp.build(tmp_path / "m.onnx", log="none", reference=False)) as session:
        assert not faults(model, feeds, session.run(feeds))


def test_scales_of_several_dimensions(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 255, (8, 6, 3, 3), "uint8")
    scale = rng.uniform(0.01, 0.02, (8, 1, 1)).astype("float32")
    zero = rng.integers(100, 140, (8, 1, 1), "uint8")
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["real"], axis=0),
        helper.make_node("Conv", ["x", "real"], ["y"]),
    ]
    weights = {"w": weight, "scale": scale, "zero": zero}
    types = {"y": TensorProto.FLOAT}
    save(tmp_path / "m.onnx", nodes, {"x": (1, 6, 3, 3)}, ["y"], weights=weights, types=types)
    x = rng.normal(size=(1, 6, 3, 3)).astype("float32")
    with tvmcomp.load(tvmcomp.build(tmp_path / "m.onnx", log="none", reference=False)) as session:
        y = session.run({"x": x})["y"]
    real = (weight.astype("float64") - zero[..., None]) * scale[..., None]
    np.testing.assert_allclose(y.reshape(8), (real * x).sum((1, 2, 3)), rtol=1e-4, atol=1e-4)


def test_a_recurrent_layer_between_integers_is_reported_as_float(tmp_path):
    """NNCF leaves its weights as they are."""
    network = Network(seed=6)
    x = network.quantized(network.convolution("x", 8, 6), np.uint8(128))
    x = network.add("Reshape", x, network.constant(np.array([8, 1, 81])))
    shapes = (1, 64, 81), (1, 64, 16)
    weights = [network.constant(network.rng.normal(size=s).astype("float32") / 9) for s in shapes]
    x = network.add("LSTM", x, *weights, hidden_size=16)
    save(tmp_path / "m.onnx", network.nodes, {"x": (1, 6, 9, 9)}, [x], weights=network.weights)
    artifact = tvmcomp.build(tmp_path / "m.onnx", log="none", reference=False)
    (layer,) = (op for op in artifact.metadata.operators if op.kind == "tvmcomp.recurrent")
    assert layer.dtype == "float32" and "weights are not quantized" in (layer.reason or "")
