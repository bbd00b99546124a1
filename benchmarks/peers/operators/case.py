"""A model of one operator, as a case of the sweep.

A case's name says what sets it apart: the operator, its dtype, and the attribute or shape of the
kind. Sizes are chosen so that ONNX Runtime takes some 0.05 to 5 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray


@dataclass(frozen=True)
class OperatorCase:
    """A model of one operator.

    Attributes:
        name: what sets the case apart.
        operator: ONNX's name.
        inputs: the arrays that come at run time, by name.
        constants: the arrays that the model holds, by name.
        order: the operator's inputs; "" for one that is left out.
        attributes: of the node.
        outputs: how many.
        opset: of the model.
    """

    name: str
    operator: str
    inputs: dict[str, Array]
    constants: dict[str, Array] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 17

    def model(self) -> onnx.ModelProto:
        """The model, its output's shape left to inference."""
        order = self.order or (*self.inputs, *self.constants)
        names = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.operator, list(order), names, name="n", **self.attributes)
        graph = helper.make_graph(
            [node],
            "g",
            [_value(name, array) for name, array in self.inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in names],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 9
        return onnx.shape_inference.infer_shapes(model)


def _value(name: str, array: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
    )


class Draw:
    """Random arrays, always the same."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self, shape: Sequence[int], dtype: str = "float32") -> Array:
        """Normal floats, booleans, or small integers."""
        kind = np.dtype(dtype)
        if kind.kind == "f":
            return self.rng.standard_normal(shape).astype(kind)
        if kind.kind == "b":
            return self.rng.integers(0, 2, shape).astype(kind)
        low = 0 if kind.kind == "u" else -9
        return self.rng.integers(low, 10, shape).astype(kind)
