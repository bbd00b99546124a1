"""What `compress` writes, made by hand of small float networks: Q/DQ, weights of few bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

#: Operator with a weight -> the axis of its output channels; a matrix's last.
_CHANNELS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gather": 0}


def finished(
    model: onnx.ModelProto,
    rounded: Sequence[str],
    samples: Sequence[dict[str, np.ndarray]],
    *,
    bits: int = 8,
    stored: int = TensorProto.INT8,
    block: int = 0,
) -> onnx.ModelProto:
    """A float network with its weights and some tensors rounded.

    Args:
        model: of opset 21 where ``stored`` is a narrow type or ``block`` is given.
        rounded: tensors that are quantized to uint8 for all their readers.
        samples: whose range they have.
        bits: of the weights, per output channel, symmetric.
        stored: INT8, or INT4 or UINT4 of 4 bits at most.
        block: of so many inputs each has a scale.
    """
    made = onnx.ModelProto.FromString(model.SerializeToString())
    writer = _Writer(made, bits, stored, block)
    ranges = _ranges(model, rounded, samples)
    for name in rounded:
        writer.activation(name, *ranges[name])
    for node in list(made.graph.node):
        if node.op_type in (*_CHANNELS, "Gemm", "LSTM", "GRU"):
            writer.weights(node)
    writer.order()
    return made


class _Writer:
    def __init__(self, model: onnx.ModelProto, bits: int, stored: int, block: int) -> None:
        self.graph, self.stored, self.block = model.graph, stored, block
        self.limit = 2 ** (bits - 1) - 1
        self.values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        #: Tensor or weight -> its scale.
        self.scales: dict[str, np.ndarray] = {}

    def activation(self, name: str, low: float, high: float) -> None:
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32((high - low) / 255)
        zero = np.uint8(np.rint(-low / scale))
        parameters = [self.constant(f"{name}/scale", scale), self.constant(f"{name}/zero", zero)]
        for node in self.graph.node:
            for place, read in enumerate(node.input):
                if read == name:
                    node.input[place] = f"{name}/real"
        for output in self.graph.output:
            if output.name == name:
                output.name = f"{name}/real"
        self.add("QuantizeLinear", [name, *parameters], f"{name}/integers")
        self.add("DequantizeLinear", [f"{name}/integers", *parameters], f"{name}/real")
        self.scales[f"{name}/real"] = np.asarray(scale)

    def weights(self, node: onnx.NodeProto) -> None:
        if node.op_type in ("LSTM", "GRU"):
            for place in (1, 2):
                self.recurrent(node, place)
            return
        place = 0 if node.op_type == "Gather" else 1
        name = node.input[place]
        if name not in self.values or self.values[name].dtype != np.float32:
            return
        axis = _CHANNELS.get(node.op_type, -1)
        if node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
            axis = 0
        axis %= self.values[name].ndim
        node.input[place] = self.weight(name, axis)
        if len(node.input) > 2 and not self.block and node.input[0] in self.scales:
            self.bias(node)

    def recurrent(self, node: onnx.NodeProto, place: int) -> None:
        """[directions, rows, columns], of a scale a row."""
        name = node.input[place]
        shape = self.values[name].shape
        self.values[name] = self.values[name].reshape(-1, shape[-1])
        shape_name = self.constant(f"{name}/shape", np.array(shape, np.int64))
        self.add("Reshape", [self.weight(name, 0), shape_name], f"{name}/shaped")
        node.input[place] = f"{name}/shaped"

    def weight(self, name: str, axis: int) -> str:
        real = self.values[name]
        if f"{name}/real" in self.scales:
            return f"{name}/real"
        if self.block:
            return self.blocked(name, real, axis)
        others = tuple(i for i in range(real.ndim) if i != axis)
        scale = self.scale(np.abs(real).max(axis=others))
        shape = [-1 if i == axis else 1 for i in range(real.ndim)]
        codes = np.clip(np.rint(real / scale.reshape(shape)), -self.limit, self.limit)
        inputs = self.codes(name, codes, scale)
        self.add("DequantizeLinear", inputs, f"{name}/real", axis=axis)
        self.scales[f"{name}/real"] = scale
        return f"{name}/real"

    def blocked(self, name: str, real: np.ndarray, axis: int) -> str:
        """Blocks along the inputs of a matrix or the input channels of a convolution."""
        along = 1 if real.ndim > 2 else 1 - axis
        count = -(-real.shape[along] // self.block)
        parts = np.array_split(real, range(self.block, real.shape[along], self.block), along)
        scale = self.scale(
            np.concatenate([np.abs(p).max(along, keepdims=True) for p in parts], along)
        )
        spread = np.repeat(scale, self.block, along).take(range(real.shape[along]), along)
        assert scale.shape[along] == count
        inputs = self.codes(name, np.clip(np.rint(real / spread), -self.limit, self.limit), scale)
        self.add("DequantizeLinear", inputs, f"{name}/real", axis=along, block_size=self.block)
        self.scales[f"{name}/real"] = scale
        return f"{name}/real"

    def scale(self, largest: np.ndarray) -> np.ndarray:
        """Of 8 significant bits, as those of weights that are rounded here."""
        scale = np.where(largest == 0, 1, largest / self.limit).astype(np.float32)
        return ((scale.view(np.uint32) + 0xFFFF) & 0xFFFF0000).astype(np.uint32).view(np.float32)

    def codes(self, name: str, codes: np.ndarray, scale: np.ndarray) -> list[str]:
        zero = 8 if self.stored == TensorProto.UINT4 else 0
        tensors = {f"{name}/codes": codes + zero, f"{name}/zero": np.full(scale.shape, zero)}
        for key, array in tensors.items():
            if self.stored == TensorProto.INT8:
                self.constant(key, array.astype(np.int8))
            else:
                made = helper.make_tensor(key, self.stored, array.shape, array.astype(int).ravel())
                self.graph.initializer.append(made)
        return [f"{name}/codes", self.constant(f"{name}/scale", scale), f"{name}/zero"]

    def bias(self, node: onnx.NodeProto) -> None:
        """As int32, in units of the accumulator."""
        name = node.input[2]
        scale = (self.scales[node.input[0]] * self.scales[node.input[1]]).astype(np.float32)
        scale = np.broadcast_to(scale, self.values[name].shape)
        units = np.rint(self.values[name] / scale.astype(np.float64)).astype(np.int32)
        inputs = [self.constant(f"{name}/codes", units), self.constant(f"{name}/scale", scale)]
        self.add("DequantizeLinear", inputs, f"{name}/real", axis=0)
        node.input[2] = f"{name}/real"

    def constant(self, name: str, value: np.ndarray | np.generic) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.graph.node.append(helper.make_node(operator, inputs, [output], output, **attributes))

    def order(self) -> None:
        """Each node behind those that it reads; initializers that are read."""
        known = {t.name for t in (*self.graph.initializer, *self.graph.input)} | {""}
        left, nodes = list(self.graph.node), []
        while left:
            ready = [node for node in left if known.issuperset(node.input)]
            assert ready
            nodes += ready
            known.update(name for node in ready for name in node.output)
            left = [node for node in left if node not in ready]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        read = {name for node in nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def _ranges(
    model: onnx.ModelProto, names: Sequence[str], samples: Sequence[dict[str, np.ndarray]]
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each tensor."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    inputs = {value.name for value in copy.graph.input}
    inner = [name for name in names if name not in inputs]
    known = {value.name for value in copy.graph.output}
    copy.graph.output.extend(
        helper.make_empty_tensor_value_info(n) for n in inner if n not in known
    )
    session = onnxruntime.InferenceSession(copy.SerializeToString())
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for sample in samples:
        given = dict(zip(inner, session.run(inner, sample) if inner else [], strict=True)) | sample
        for name in names:
            found[name].append(given[name])
    return {n: (float(np.min(a)), float(np.max(a))) for n, a in found.items()}
