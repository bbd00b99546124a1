"""What a rule writes with: the nodes that take one node's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tvmcomp.frontend.onnx.node_facts import attributes_of
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN

Rule: TypeAlias = "Callable[[Rewriting], None]"

#: ONNX Runtime's domain, whose DequantizeLinear knew an axis before the standard's did.
MICROSOFT = "com.microsoft"
#: The operator set in which DequantizeLinear got its axis.
_WITH_AXIS = 13


class Rewriting:
    """The rewriting of one node.

    Attributes:
        attributes: those of the node; strings as text.
        opset: the standard's operator set of the model.
        nodes: what was written so far.
        infos: shapes that no inference finds.
    """

    def __init__(
        self, node: onnx.NodeProto, opset: int, constants: Mapping[str, onnx.TensorProto]
    ) -> None:
        self.node, self.opset = node, opset
        self.attributes = attributes_of(node)
        self.nodes: list[onnx.NodeProto] = []
        self.infos: list[onnx.ValueInfoProto] = []
        self._constants = constants
        self._named = False

    def input(self, index: int) -> str:
        """The name of an input, empty where it is left out."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a constant."""
        return tuple(self._constants[name].dims) if name in self._constants else None

    def value(self, name: str) -> np.ndarray | None:
        """The value of a constant."""
        return numpy_helper.to_array(self._constants[name]) if name in self._constants else None

    def pick(self, *names: str) -> dict[str, Any]:
        """Those of the node's attributes that are given."""
        return {name: self.attributes[name] for name in names if name in self.attributes}

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node; return its result's name."""
        return self._add(operator, list(inputs), domain, attributes, main=False)

    def main(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add the node that bears the name of the one it stands for."""
        return self._add(operator, list(inputs), "", attributes, main=True)

    def own(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add that node as an operator of our own domain."""
        return self._add(operator, list(inputs), DOMAIN, attributes, main=True)

    def constant(self, value: np.ndarray) -> str:
        """Add a constant."""
        tensor = numpy_helper.from_array(np.asarray(value))
        return self._add("Constant", [], "", {"value": tensor}, main=False)

    def give(self, name: str, index: int = 0) -> None:
        """Make ``name`` the node's output ``index``."""
        if index < len(self.node.output) and self.node.output[index]:
            output = self.node.output[index]
            suffix = f"{self.node.name}/output{index}"
            self.nodes.append(helper.make_node("Identity", [name], [output], suffix))

    def real(self, data: str, scale: str, zero: str, axis: int | None = None) -> str:
        """``data`` dequantized; along ``axis`` where there are several scales."""
        inputs = [data, scale, zero] if zero else [data, scale]
        scales = self.shape(scale)
        if axis is None or (scales is not None and np.prod(scales, dtype=int) == 1):
            return self.add("DequantizeLinear", *inputs)
        if self.opset >= _WITH_AXIS:
            return self.add("DequantizeLinear", *inputs, axis=axis)
        result = self.add("DequantizeLinear", *inputs, domain=MICROSOFT, axis=axis)
        shape = self.shape(data)
        if shape is not None:
            float_type = onnx.TensorProto.FLOAT
            self.infos.append(helper.make_tensor_value_info(result, float_type, shape))
        return result

    def quantize(self, data: str, scale: str, zero: str, index: int = 0) -> None:
        """Make ``data``, quantized, the node's output."""
        self.give(self.add("QuantizeLinear", data, scale, *([zero] if zero else [])), index)

    def _add(
        self,
        operator: str,
        inputs: list[str],
        domain: str,
        attributes: dict[str, Any],
        *,
        main: bool,
    ) -> str:
        while inputs and not inputs[-1]:
            inputs.pop()
        count = len(self.nodes)
        result = f"{self.node.output[0]}/{self.node.name}/{count}"
        name = self.node.name if main and not self._named else f"{self.node.name}/{operator}{count}"
        self._named |= main
        self.nodes.append(
            helper.make_node(operator, inputs, [result], name, domain=domain or None, **attributes)
        )
        return result
