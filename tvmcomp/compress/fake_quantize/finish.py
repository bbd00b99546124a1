"""FakeQuantize written out in the standard's words: QuantizeLinear and DequantizeLinear.

    FakeQuantize(weight)         ->  DequantizeLinear(int8 codes, scales); int4 of 4 bits or fewer
    FakeQuantize(x)              ->  DequantizeLinear(QuantizeLinear(x)), uint8
    Cluster(weight)              ->  see :mod:`tvmcomp.compress.clusters.write`
    Conv(x, w, b) of these two   ->  b as DequantizeLinear(int32 codes, scale of x * scales of w)

Scales and zero points are used as FakeQuantize itself uses them, so only the bias changes, by half
a unit of the accumulator at most; and where weights have few bits, the constants that stay float,
which become bfloat16 numbers.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from tvmcomp.compress.clusters.write import cluster_scale, is_cluster, packed, write_cluster
from tvmcomp.compress.fake_quantize.graph import Graph, attribute, copied, kind_of, set_nodes
from tvmcomp.compress.fake_quantize.operator_kinds import CONVOLUTIONS, PRODUCTS, RECURRENT
from tvmcomp.compress.fake_quantize.short_constants import shorten
from tvmcomp.compress.operators.fake_quantize import (
    FAKE_QUANTIZE,
    code_range,
    stored_scale,
    stored_zero_point,
)
from tvmcomp.compress.operators.recurrent import STATE_STEPS
from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.quantize.rounding.codes import MOST_BITS

#: The operator set, and the version of the format, that 4-bit weights came with.
INT4_OPSET, _INT4_FORMAT = 21, 10
#: The operator set that scales of an axis came with.
_AXIS_OPSET = 13
#: Beyond this an int32 bias leaves no room for the sum.
_LARGEST_BIAS = 2**30


def finish(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` without FakeQuantize and Cluster; of a model that has none, itself.

    Weights of 4 bits or fewer are int8 in a model of an operator set before 21.

    Raises:
        ModelError: it is of an operator set before 13, which per-channel scales need.
    """
    return _Finish(copied(model)).run()


def is_fake_quantize(node: onnx.NodeProto) -> bool:
    """Whether ``node`` is a FakeQuantize."""
    return kind_of(node) == f"{DOMAIN}.{FAKE_QUANTIZE}"


class Grid:
    """The integers of a FakeQuantize, as they are written out.

    Attributes:
        name: of the scale.
        bits, axis: of the node.
        low, high: the least and the largest integer.
        scale: float32, one or one an index of the axis.
        zero_point: whole, as int64; 0 where the node has none.
    """

    def __init__(self, graph: Graph, node: onnx.NodeProto) -> None:
        values = {a.name: a.i for a in node.attribute}
        self.name, self.bits, self.axis = node.input[1], values["bits"], values["axis"]
        narrow = bool(values["narrow"])
        self.low, self.high = code_range(self.bits, signed=bool(values["signed"]), narrow=narrow)
        scale = torch.from_numpy(np.array(graph.constant(node.input[1])))
        self.scale: np.ndarray = stored_scale(scale, self.bits, narrow=narrow).numpy()
        zero = torch.zeros(())
        if len(node.input) > 2 and node.input[2]:
            zero = torch.from_numpy(np.array(graph.constant(node.input[2])))
        self.zero_point: np.ndarray = stored_zero_point(zero, self.low, self.high).long().numpy()

    def codes(self, value: np.ndarray) -> np.ndarray:
        """The integers of ``value``, as int8 or uint8."""
        scale = self.scale
        if scale.ndim:
            axis = self.axis % value.ndim
            scale = scale.reshape([-1 if i == axis else 1 for i in range(value.ndim)])
        steps = np.rint(value / scale) + self.zero_point
        return np.clip(steps, self.low, self.high).astype("uint8" if self.low == 0 else "int8")


class _Finish:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = Graph(model)
        self.grids = {
            node.output[0]: Grid(self.graph, node)
            for node in self.graph.nodes
            if is_fake_quantize(node)
        }
        #: Result of an operator's weight -> its scales.
        self.weight_scales = {name: grid.scale for name, grid in self.grids.items() if grid.low < 0}
        clusters = [node for node in self.graph.nodes if is_cluster(node)]
        self.has_own = bool(self.grids or clusters)
        for node in clusters:
            scale = cluster_scale(self.graph, node)
            if scale is not None:
                self.weight_scales[node.output[0]] = scale
        self.has_int4 = opset_version(model) >= INT4_OPSET
        #: What was written once for several readers of one scale.
        self.steps: dict[str, tuple[str, str]] = {}
        self.biases: dict[tuple[str, str, str], str] = {}

    def run(self) -> onnx.ModelProto:
        if not self.has_own:
            return self.model
        if opset_version(self.model) < _AXIS_OPSET:
            raise ModelError(
                f"its operator set {opset_version(self.model)} has no scales of an axis",
                hint=f"Convert it to set {_AXIS_OPSET} or later with onnx.version_converter.",
            )
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.nodes:
            if is_cluster(node):
                nodes += write_cluster(self.graph, node, has_uint4=self.has_int4)
            elif not is_fake_quantize(node):
                for own in [each for each in node.attribute if each.name == STATE_STEPS]:
                    node.attribute.remove(own)
                nodes += [*self.bias(node), node]
            elif self.graph.is_constant(node.input[0]):
                nodes.append(self.weight(node))
            else:
                nodes += self.activation(node)
        set_nodes(self.model, nodes)
        if any(grid.bits < MOST_BITS for grid in self.grids.values()):
            shorten(self.model, self.in_float)
        if not any(node.domain == DOMAIN for node in nodes):
            kept = [each for each in self.model.opset_import if each.domain != DOMAIN]
            del self.model.opset_import[:]
            self.model.opset_import.extend(kept)
        if self.has_int4:
            self.model.ir_version = max(self.model.ir_version, _INT4_FORMAT)
        return self.model

    @property
    def in_float(self) -> set[str]:
        """The names of nodes whose weight is not rounded."""
        return {
            node.name
            for node in self.graph.nodes
            if kind_of(node) in CONVOLUTIONS | PRODUCTS | RECURRENT
            and self.graph.is_constant(node.input[1])
        }

    def weight(self, node: onnx.NodeProto) -> onnx.NodeProto:
        name, grid = node.input[0], self.grids[node.output[0]]
        value = self.graph.constant(name)
        assert value is not None
        codes = self.graph.free_name(f"{name}_codes")
        array = grid.codes(value)
        narrow = grid.bits <= 4 and self.has_int4
        kind = TensorProto.INT4 if narrow else TensorProto.INT8
        content = packed(array) if narrow else array.tobytes()
        self.model.graph.initializer.append(
            helper.make_tensor(codes, kind, array.shape, content, raw=True)
        )
        scale = self.graph.add_constant(f"{name}_steps", grid.scale)
        return helper.make_node(
            "DequantizeLinear",
            [codes, scale],
            list(node.output),
            f"{node.output[0]}_dequantize",
            axis=grid.axis,
        )

    def activation(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        grid, result = self.grids[node.output[0]], node.output[0]
        dtype = np.uint8 if grid.low == 0 else np.int8
        if node.input[1] not in self.steps:
            scale = self.graph.add_constant(f"{result}_scale", grid.scale)
            zero = self.graph.add_constant(f"{result}_zero_point", grid.zero_point.astype(dtype))
            self.steps[node.input[1]] = (scale, zero)
        scale, zero = self.steps[node.input[1]]
        codes = self.graph.free_name(f"{result}_codes")
        rounding = helper.make_node(
            "QuantizeLinear", [node.input[0], scale, zero], [codes], f"{result}_quantize"
        )
        back = helper.make_node(
            "DequantizeLinear", [codes, scale, zero], [result], f"{result}_dequantize"
        )
        return [rounding, back]

    def bias(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The bias of an operator on rounded data, in units of its accumulator."""
        if kind_of(node) not in CONVOLUTIONS | {"Gemm"} or len(node.input) < 3:
            return []
        data, weight = self.grids.get(node.input[0]), self.weight_scales.get(node.input[1])
        value = self.graph.constant(node.input[2])
        if data is None or weight is None or value is None or value.ndim != 1:
            return []
        if data.scale.ndim or (kind_of(node) == "Gemm" and attribute(node, "beta", 1.0) != 1.0):
            return []
        place = (node.input[2], data.name, node.input[1])
        if place in self.biases:
            node.input[2] = self.biases[place]
            return []
        scales = (data.scale * weight).astype(np.float32)
        if kind_of(node) == "ConvTranspose":
            scales = np.tile(scales, attribute(node, "group", 1))  # type: ignore[call-overload]
        if scales.size != value.size or not (np.abs(value / scales) < _LARGEST_BIAS).all():
            return []
        codes = np.rint(value.astype(np.float64) / scales).astype(np.int32)
        name = node.input[2]
        integers = self.graph.add_constant(f"{name}_codes", codes)
        steps = self.graph.add_constant(f"{name}_steps", scales)
        result = self.graph.free_name(f"{name}_real")
        node.input[2] = self.biases[place] = result
        return [
            helper.make_node(
                "DequantizeLinear", [integers, steps], [result], f"{result}_dequantize", axis=0
            )
        ]
