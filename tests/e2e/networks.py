"""Small networks for the end-to-end tests, written with onnx.helper, and data to calibrate them.

Weights are random with the spread that training leaves (He), so that no layer dies or explodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from precise_onnxruntime import precise_onnxruntime

TOP = Path(__file__).parents[2]
EXAMPLE = TOP / "examples" / "mnist"
#: What the tests write into it needs no newer reader.
_IR_VERSION = 10


class NetworkWriter:
    """Collects nodes and weights; each method adds a node and gives its output's name."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(seed)

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        output = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int) -> str:
        fan_in = max(1, int(np.prod(shape[1:])))
        array = self._random.standard_normal(shape) * np.sqrt(2 / fan_in)
        return self.constant(array.astype("float32"))

    def conv(self, x: str, channels: tuple[int, int], kernel: tuple[int, ...], **attributes) -> str:
        """A convolution with a bias; ``channels`` are (out, in of one group)."""
        bias = self.constant((self._random.standard_normal(channels[0]) * 0.1).astype("float32"))
        return self.op("Conv", x, self.weight(*channels, *kernel), bias, **attributes)

    def save(
        self,
        path: Path,
        inputs: dict[str, Sequence[int | str]],
        outputs: Sequence[str],
        opset: int = 17,
        types: dict[str, int] | None = None,
        domains: Sequence[str] = (),
    ) -> Path:
        """Write the model; inputs and outputs are float32 unless ``types`` has another type."""
        types = types or {}

        def value(name: str, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), shape)

        graph = helper.make_graph(
            self.nodes,
            "network",
            [value(name, shape) for name, shape in inputs.items()],
            [value(name, None) for name in outputs],
            self.weights,
        )
        opsets = [helper.make_opsetid("", opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in domains]
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = min(model.ir_version, _IR_VERSION)
        onnx.save(model, path)
        return path


def tiny(path: Path, batch: int | str = 1) -> Path:
    """One convolution and a ReLU: x (batch, 3, 8, 8) -> y (batch, 8, 8, 8)."""
    net = NetworkWriter()
    net.op("Relu", net.conv("x", (8, 3), (3, 3), pads=[1] * 4), name="y")
    return net.save(path, {"x": (batch, 3, 8, 8)}, ["y"])


def classifier(path: Path, opset: int = 17, softmax: bool = False) -> Path:
    """A convolution of each kind and a Gemm, maybe a Softmax: x (1, 3, 16, 16) -> y (1, 10)."""
    net = NetworkWriter(3)
    stem = net.op("Relu", net.conv("x", (16, 3), (3, 3), strides=[2, 2], pads=[1] * 4))
    depthwise = net.op("Relu", net.conv(stem, (16, 1), (3, 3), pads=[1] * 4, group=16))
    pointwise = net.op("Relu", net.conv(depthwise, (32, 16), (1, 1)))
    flat = net.op("Flatten", net.op("GlobalAveragePool", pointwise))
    last = "logits" if softmax else "y"
    net.op("Gemm", flat, net.weight(10, 32), net.weight(10), transB=1, name=last)
    if softmax:
        net.op("Softmax", last, axis=-1, name="y")
    return net.save(path, {"x": (1, 3, 16, 16)}, ["y"], opset)


def mobile(path: Path) -> Path:
    """A network like MobileNetV3 with a small feature pyramid.

    image (1, 3, 32, 32) -> scores (1, 10), heat (1, 4, 16, 16): strided and depthwise
    convolutions, squeeze-excite, hard-swish, residual addition, pooling, resize, concat.
    """
    net = NetworkWriter(1)
    stem = net.op("HardSwish", net.conv("image", (16, 3), (3, 3), strides=[2, 2], pads=[1] * 4))
    wide = net.op("Relu", net.conv(stem, (32, 16), (1, 1)))
    deep = net.op("HardSwish", net.conv(wide, (32, 1), (5, 5), pads=[2] * 4, group=32))
    squeezed = net.op("Relu", net.conv(net.op("GlobalAveragePool", deep), (8, 32), (1, 1)))
    gate = net.op("HardSigmoid", net.conv(squeezed, (32, 8), (1, 1)), alpha=1 / 6, beta=0.5)
    narrow = net.conv(net.op("Mul", deep, gate), (16, 32), (1, 1))
    fine = net.op("Add", stem, narrow)
    coarse = net.op("MaxPool", fine, kernel_shape=[2, 2], strides=[2, 2])
    coarse = net.op("Relu", net.conv(coarse, (24, 16), (3, 3), pads=[2] * 4, dilations=[2, 2]))
    scales = net.constant(np.array([1, 1, 2, 2], "float32"))
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    up = net.op("Resize", coarse, "", scales, nearest_mode="floor", **nearest)
    both = net.op("Concat", fine, up, axis=1)
    heat = net.conv(both, (4, 40), (3, 3), pads=[1] * 4)
    net.op("Sigmoid", heat, name="heat")
    pooled = net.op("AveragePool", coarse, kernel_shape=[2, 2], strides=[2, 2])
    flat = net.op("Flatten", pooled)
    bias = net.constant(np.linspace(-0.5, 0.5, 10, dtype="float32"))
    net.op("Gemm", flat, net.weight(10, 24 * 4 * 4), bias, transB=1, name="scores")
    return net.save(path, {"image": (1, 3, 32, 32)}, ["scores", "heat"])


def speech(path: Path) -> Path:
    """Conv1d over a sequence: x (1, 16, 64) -> y (1, 6)."""
    net = NetworkWriter(2)
    first = net.op("Relu", net.conv("x", (32, 16), (5,), strides=[2], pads=[2, 2]))
    second = net.op("Relu", net.conv(first, (32, 1), (3,), pads=[1, 1], group=32))
    third = net.op("Add", net.conv(second, (32, 32), (1,)), first)
    flat = net.op("Flatten", net.op("GlobalAveragePool", third))
    net.op("Gemm", flat, net.weight(6, 32), net.weight(6), transB=1, name="y")
    return net.save(path, {"x": (1, 16, 64)}, ["y"])


def images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    """(count, *shape) float32 of smooth random pictures in 0..1: neighbours are alike."""
    random = np.random.default_rng(seed)
    small = random.random((count, shape[0], shape[1] // 4, shape[2] // 4))
    large = small.repeat(4, axis=2).repeat(4, axis=3)
    return (0.8 * large + 0.2 * random.random(large.shape)).astype("float32")


def onnxruntime_outputs(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime gives, by name."""
    session = precise_onnxruntime(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def share_of_range(given: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference as a share of the range of ``wanted``."""
    return float(np.abs(given - wanted).max() / max(np.ptp(wanted), 1e-12))
