"""A Scan as a Loop whose body takes its slices, and whose rows are put in order afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass
class Scan:
    """A Scan from operator set 9 on.

    Attributes:
        node: the operator.
        states: how many values it carries.
        in_axes, backward: of each sequence it reads, its axis and whether from its end.
        out_axes, reverse: of each that it gives, likewise.
    """

    node: onnx.NodeProto
    states: int
    in_axes: list[int]
    backward: list[int]
    out_axes: list[int]
    reverse: list[int]

    @classmethod
    def of(cls, node: onnx.NodeProto) -> Scan:
        """Read the attributes of ``node``."""
        given: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        sources = given["num_scan_inputs"]
        states = len(node.input) - sources
        gives = len(node.output) - states
        return cls(
            node,
            states,
            list(given.get("scan_input_axes", [0] * sources)),
            list(given.get("scan_input_directions", [0] * sources)),
            list(given.get("scan_output_axes", [0] * gives)),
            list(given.get("scan_output_directions", [0] * gives)),
        )

    @property
    def body(self) -> onnx.GraphProto:
        """What it runs."""
        return next(a.g for a in self.node.attribute if a.name == "body")

    @property
    def sequences(self) -> list[str]:
        """What it takes slices of."""
        return list(self.node.input[self.states :])

    def size(self, shapes: Sequence[Sequence[int | None] | None]) -> int:
        """How often it runs.

        Args:
            shapes: of its sequences.

        Raises:
            ValueError: that is not known.
        """
        sizes = {
            shape[axis] if shape and -len(shape) <= axis < len(shape) else None
            for shape, axis in zip(shapes, self.in_axes, strict=True)
        }
        size = sizes.pop() if len(sizes) == 1 else None
        if size is None:
            raise ValueError(f"how often it runs is not known: its inputs have shapes {shapes}")
        return size

    def as_loop(self, size: int) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
        """A Loop of ``size`` trips that gives the same states, and rows by :meth:`rows`' names.

        Returns:
            The Loop, and constants that it reads.
        """
        prefix, slices = f"{self.node.name}//scan", self.body.input[self.states :]
        count, going, at = f"{prefix}/i", f"{prefix}/going", f"{prefix}/back"
        constants = [_constant(f"{prefix}/trips", size), _constant(f"{prefix}/last", size - 1)]
        taken = [helper.make_node("Sub", [constants[1].name, count], [at], name=at)]
        for value, source, axis, back in zip(
            slices, self.sequences, self.in_axes, self.backward, strict=True
        ):
            places = [source, at if back else count]
            taken.append(
                helper.make_node("Gather", places, [value.name], name=value.name, axis=axis)
            )
        on = helper.make_tensor_value_info(going, TensorProto.BOOL, [])
        graph = helper.make_graph(
            [*taken, *self.body.node],
            self.body.name or "body",
            [
                helper.make_tensor_value_info(count, TensorProto.INT64, []),
                on,
                *self.body.input[: self.states],
            ],
            [on, *self.body.output],
            self.body.initializer,
        )
        inputs = [constants[0].name, "", *self.node.input[: self.states]]
        outputs = [*self.node.output[: self.states], *map(self._rows, range(len(self.out_axes)))]
        return helper.make_node("Loop", inputs, outputs, name=self.node.name, body=graph), constants

    def arranged(self, ranks: dict[str, int]) -> tuple[list[Any], list[onnx.TensorProto]]:
        """The nodes that make the Scan's outputs of the Loop's rows, and constants they read.

        Args:
            ranks: of the rows of all trips, by name.
        """
        nodes, prefix = [], f"{self.node.name}//scan"
        constants = [
            _constant(f"{prefix}/{key}", [number])
            for key, number in (("begin", -1), ("end", -(2**62)), ("axis", 0), ("step", -1))
        ]
        for i, name in enumerate(self.node.output[self.states :]):
            rows, rank = self._rows(i), ranks.get(self._rows(i))
            if not name or rank is None:
                continue
            if self.reverse[i]:
                ends = [constant.name for constant in constants]
                nodes.append(helper.make_node("Slice", [rows, *ends], [f"{rows}/turned"]))
                rows = f"{rows}/turned"
            axis = self.out_axes[i] % rank
            perm = [*range(1, axis + 1), 0, *range(axis + 1, rank)]
            nodes.append(helper.make_node("Transpose", [rows], [name], perm=perm))
        for node in nodes:
            node.name = node.output[0]
        return nodes, constants

    def _rows(self, i: int) -> str:
        return f"{self.node.name}//scan/rows{i}"


def _constant(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, "int64"), name)
