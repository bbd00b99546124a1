"""Tensors of no dimension (inputs, constants, results of reductions) that meet images: generated
networks against ONNX Runtime, and in int8 and for another machine as well.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from e2e.networks import NetworkWriter, onnxruntime_outputs, share_of_range
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

import tvmcomp

_CHANNELS = 8
_IMAGE = (1, _CHANNELS, 8, 8)


class _Generated(NetworkWriter):
    """A random network in which scalars of every origin meet images in every kind of operator.

    Attributes:
        feeds: an array for each input.
    """

    def __init__(self, seed: int, steps: int) -> None:
        super().__init__(seed)
        self.rng = np.random.default_rng(seed)
        self.feeds: dict[str, np.ndarray] = {}
        self.types: dict[str, int] = {}
        self.scalars = [self.input(np.float32(self.rng.uniform(0.2, 2)))]
        image = self.input(self.rng.standard_normal((1, 3, 8, 8)).astype("float32"))
        self.images = [self.conv(image, (_CHANNELS, 3), (3, 3), pads=[1] * 4)]
        for _ in range(steps):
            self.scalars.append(self.scalar())
            self.images.append(self.meeting())
        self.outputs = [self.images[-1], self.op("Identity", self.scalars[-1])]

    def input(self, array: np.ndarray) -> str:
        name = f"input_{len(self.feeds)}"
        self.feeds[name] = np.asarray(array)
        self.types[name] = onnx.helper.np_dtype_to_tensor_dtype(self.feeds[name].dtype)
        return name

    def any_of(self, values: list[str]) -> str:
        return values[self.rng.integers(len(values))]

    def scalar(self) -> str:
        """A new positive scalar, no larger than a few."""
        image, other = self.any_of(self.images), self.any_of(self.scalars)
        size = self.op("Abs", image)
        raw = [
            lambda: self.input(np.float32(self.rng.uniform(0.2, 2))),
            lambda: self.constant(np.float32(self.rng.uniform(0.2, 2))),
            lambda: self.op("Cast", self.input(np.int64(self.rng.integers(1, 4))), to=1),
            lambda: self.op(self.any_of(["ReduceMax", "ReduceMean"]), size, keepdims=0),
            lambda: self.op("Squeeze", self.op("ReduceSum", size)),
            lambda: self.op(self.any_of(["Add", "Mul", "Max"]), other, self.any_of(self.scalars)),
            lambda: self.op(self.any_of(["Relu", "Sigmoid", "Sqrt"]), other),
            lambda: self.op(
                "Gather",
                self.op("Reshape", size, self.constant(np.array([-1]))),
                self.constant(np.int64(3)),
            ),
        ]  # fmt: skip
        low, high = self.constant(np.float32(0.1)), self.constant(np.float32(3))
        return self.op("Clip", raw[self.rng.integers(len(raw))](), low, high)

    def meeting(self) -> str:
        """An operator in which an image and a scalar meet."""
        image, scalar = self.any_of(self.images), self.any_of(self.scalars)
        two = [image, scalar] if self.rng.random() < 0.7 else [scalar, image]
        shape = self.constant(np.array(_IMAGE))
        pooled = self.op("GlobalAveragePool", image)
        mean = self.op("ReduceMean", image, axes=[1])
        kinds = [
            lambda: self.op(self.any_of(["Add", "Mul", "Sub", "Max", "Min"]), *two),
            lambda: self.op("Div", image, scalar),
            lambda: self.op("Where", self.op("Greater", *two), image, scalar),
            lambda: self.op(
                "Where", self.op("Less", scalar, self.any_of(self.scalars)), *self.images[:1], image
            ),
            lambda: self.op("Clip", image, self.op("Neg", scalar), scalar),
            lambda: self.op("Clip", image, "", scalar),
            lambda: self.op("Mul", image, self.op("Cast", self.op("LessOrEqual", *two), to=1)),
            lambda: self.conv(
                self.op("Concat", image, self.op("Expand", scalar, shape), axis=1),
                (_CHANNELS, 2 * _CHANNELS), (1, 1),
            ),
            lambda: self.op("Softmax", self.op("Mul", *two), axis=1),
            lambda: self.op("MaxPool", self.op("Add", *two), kernel_shape=[3, 3], pads=[1] * 4),
            lambda: self.op("Mul", image, self.op("Add", pooled, scalar)),
            lambda: self.op("Sub", image, self.op("Div", mean, scalar)),
        ]  # fmt: skip
        return kinds[self.rng.integers(len(kinds))]()

    def write(self, path):
        shapes = {name: array.shape for name, array in self.feeds.items()}
        return self.save(path, shapes, self.outputs, types=self.types)


@pytest.mark.parametrize("seed", range(8))
def test_scalars_meet_images(seed, tmp_path):
    network = _Generated(seed, steps=6)
    path = network.write(tmp_path / "network.onnx")
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        given = session.run(network.feeds)
    for name, wanted in onnxruntime_outputs(path, network.feeds).items():
        assert given[name].shape == wanted.shape
        np.testing.assert_allclose(given[name], wanted, rtol=1e-4, atol=1e-4)


def test_a_scalar_input_in_int8_and_for_another_machine(tmp_path):
    network = _Generated(100, steps=3)
    path = network.write(tmp_path / "network.onnx")
    artifact = tvmcomp.build(path, quant="int8", calibration=[network.feeds] * 2)
    wanted = onnxruntime_outputs(path, network.feeds)
    with tvmcomp.load(artifact, threads=1) as session:
        given = session.run(network.feeds)
    assert share_of_range(given[network.outputs[0]], wanted[network.outputs[0]]) < 0.05
    tvmcomp.build(path, target="rpi4")  # Its reference outputs come from this machine.


def test_onnxruntimes_quantizer_makes_scalars_of_constants(tmp_path):
    net = NetworkWriter(5)
    x = net.conv("x", (8, 3), (3, 3), pads=[1] * 4)
    gate = net.op("Add", x, net.constant(np.float32(3)))
    gate = net.op("Clip", gate, net.constant(np.float32(0)), net.constant(np.float32(6)))
    gate = net.op("Mul", gate, net.constant(np.float32(1 / 6)))
    net.op("Mul", x, gate, name="y")
    plain = net.save(tmp_path / "plain.onnx", {"x": (1, 3, 8, 8)}, ["y"])
    rng = np.random.default_rng(0)
    samples = [{"x": rng.standard_normal((1, 3, 8, 8)).astype("float32")} for _ in range(4)]

    class Samples(CalibrationDataReader):
        left = iter(samples)

        def get_next(self):
            return next(self.left, None)

    path = tmp_path / "quantized.onnx"
    quantize_static(plain, path, Samples(), quant_format=QuantFormat.QDQ, per_channel=True)
    with tvmcomp.load(tvmcomp.build(path), threads=1) as session:
        given = session.run(samples[0])
    assert share_of_range(given["y"], onnxruntime_outputs(path, samples[0])["y"]) < 0.02
