"""Small networks to fake-quantize: written node by node, or drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tvmcomp.frontend.binding import Binding
from tvmcomp.frontend.onnx.prepare import prepare

node = helper.make_node


def prepared(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
    weights: Mapping[str, np.ndarray],
    opset: int = 21,
    types: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A prepared graph; inputs are float unless ``types`` says otherwise."""
    kinds = types or {}

    def value(name, shape):
        return helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)

    graph = helper.make_graph(
        list(nodes),
        "test",
        [value(name, shape) for name, shape in inputs.items()],
        [value(name, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    return prepare(model, Binding(), where="test").model


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype("float32")


def samples_of(model: onnx.ModelProto, count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Random samples for a network of float inputs."""
    rng = np.random.default_rng(seed)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.input
    }
    return [
        {name: rng.standard_normal(shape).astype("float32") for name, shape in shapes.items()}
        for _ in range(count)
    ]


class RandomNetwork:
    """A convolutional network drawn at random: strides, groups, residuals, concats, pools, gates.

    The same seed draws the same network.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.size = int(self.rng.integers(7, 14))
        channels = int(self.rng.integers(1, 5))
        current, shape = "x", (channels, self.size, self.size)
        for _ in range(int(self.rng.integers(3, 6))):
            block = self.rng.choice(["conv", "residual", "concat", "pool", "gate", "transposed"])
            current, shape = getattr(self, block)(current, shape)
        current = self.add("GlobalAveragePool", [current])
        current = self.add("Flatten", [current])
        weight = self.weight((shape[0], 6), shape[0])
        bias = self.constant(self.rng.standard_normal(6).astype("float32"))
        output = self.add("Gemm", [current, weight, bias])
        self.model = prepared(
            self.nodes, {"x": (1, channels, self.size, self.size)}, [output], self.weights
        )

    def add(self, kind: str, inputs: list[str], **attributes: object) -> str:
        result = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(node(kind, inputs, [result], result, **attributes))
        return result

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = array
        return name

    def weight(self, shape: tuple[int, ...], fan: int) -> str:
        return self.constant((self.rng.standard_normal(shape) / np.sqrt(fan)).astype("float32"))

    def activation(self, name: str) -> str:
        kind = self.rng.choice(["", "Relu", "HardSwish", "Sigmoid", "LeakyRelu", "Clip"])
        if kind == "Clip":
            bounds = [self.constant(np.float32(value)) for value in (0, 2)]
            return self.add("Clip", [name, *bounds])
        return self.add(str(kind), [name]) if kind else name

    def conv(self, name, shape, *, outputs=None, stride=None):
        channels, size, _ = shape
        groups = int(self.rng.choice([g for g in (1, 1, 2, channels) if channels % g == 0]))
        outputs = outputs or groups * int(self.rng.integers(1, 5))
        if outputs % groups:
            groups = 1
        kernel = int(self.rng.choice([1, 3]))
        stride = stride or int(self.rng.choice([1, 1, 2]))
        pads = [int(p) for p in self.rng.integers(0, 2, 4)] if stride != 1 else [kernel // 2] * 4
        if kernel > size + 1:
            kernel, pads = 1, [0] * 4
        weight = self.weight((outputs, channels // groups, kernel, kernel), channels * kernel**2)
        inputs = [name, weight]
        if self.rng.random() < 0.7:
            inputs.append(self.constant(self.rng.standard_normal(outputs).astype("float32")))
        result = self.add("Conv", inputs, group=groups, strides=[stride] * 2, pads=pads)
        rows = (size + pads[0] + pads[2] - kernel) // stride + 1
        columns = (size + pads[1] + pads[3] - kernel) // stride + 1
        if rows != columns:  # the other blocks expect squares
            result = self.add("GlobalMaxPool", [result])
            rows = 1
        return self.activation(result), (outputs, rows, rows)

    def residual(self, name, shape):
        inner, between = self.conv(name, shape, stride=1)
        outer, last = self.conv(inner, between, outputs=shape[0], stride=1)
        if last != shape:
            return outer, last
        return self.activation(self.add("Add", [name, outer])), shape

    def concat(self, name, shape):
        left, one = self.conv(name, shape, stride=1)
        right, two = self.conv(name, shape, stride=1)
        if one[1:] != two[1:]:
            return left, one
        return self.add("Concat", [left, right], axis=1), (one[0] + two[0], *one[1:])

    def pool(self, name, shape):
        channels, size, _ = shape
        if size < 4:
            return self.conv(name, shape)
        kind = str(self.rng.choice(["MaxPool", "AveragePool"]))
        return self.add(kind, [name], kernel_shape=[2, 2], strides=[2, 2]), (
            channels,
            size // 2,
            size // 2,
        )

    def gate(self, name, shape):
        mean = self.add("GlobalAveragePool", [name])
        weight = self.weight((shape[0], shape[0], 1, 1), shape[0])
        gate = self.add("HardSigmoid", [self.add("Conv", [mean, weight])])
        return self.add("Mul", [name, gate]), shape

    def transposed(self, name, shape):
        channels, size, _ = shape
        if size > 8:
            return self.conv(name, shape)
        outputs = int(self.rng.integers(1, 5))
        weight = self.weight((channels, outputs, 2, 2), channels)
        result = self.add("ConvTranspose", [name, weight], strides=[2, 2])
        return self.activation(result), (outputs, 2 * size, 2 * size)
