"""The bodies of Loop and Scan written one after the other, as often as they run.

    y = Loop(3, x; body)    ->    x1 = body(x); x2 = body(x1); y = body(x2)

A condition that depends on data keeps the values of before where it does not hold any more: both
are computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tvmcomp.frontend.onnx.renamed import renamed
from tvmcomp.frontend.onnx.scans import Scan
from tvmcomp.frontend.onnx.trip_count import defined_in


class Unrolled:
    """The nodes of a graph whose loops are written out.

    Attributes:
        nodes: so far, in order.
        constants: of the graph, which new ones are added to.
    """

    def __init__(
        self, graph: onnx.GraphProto, opset: int, outer: Mapping[str, onnx.TensorProto]
    ) -> None:
        """Begin with no nodes; ``outer`` are the constants around the graph."""
        self.graph, self.opset = graph, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants = {**outer, **{tensor.name: tensor for tensor in graph.initializer}}

    def add_constant(self, tensor: onnx.TensorProto) -> None:
        """Add a constant under its own name, unless there is one."""
        if tensor.name not in self.constants:
            self.constants[tensor.name] = tensor
            self.graph.initializer.append(tensor)

    def loop(self, node: onnx.NodeProto, trips: int, ends_early: bool) -> None:
        """Write a Loop that runs so often, or ends before by its condition."""
        body = _Body.of(node, self)
        given = node.input[1] if len(node.input) > 1 else ""
        carried = list(node.input[2:])
        results = len(carried)
        scanned: list[list[str]] = [[] for _ in body.graph.output[1 + results :]]
        going = given if ends_early and given else self._constant(node.name, np.array(True))
        for trip in range(trips):
            counter = self._constant(f"{node.name}_{trip}", np.array(trip, "int64"))
            outputs = body.write(trip, [counter, going, *carried])
            carried_on = outputs[1 : 1 + results]
            if ends_early:
                new = list(zip(carried_on, carried, strict=True))
                carried_on = [self._choose(going, *pair, f"{node.name}_{trip}") for pair in new]
                going = self._node("And", [going, outputs[0]], f"{node.name}_{trip}_going")
            carried = carried_on
            for rows, row in zip(scanned, outputs[1 + results :], strict=True):
                rows.append(row)
        for name, result in zip(node.output[:results], carried, strict=False):
            self._give(result, name)
        for name, rows in zip(node.output[results:], scanned, strict=False):
            if name:
                self._stack(rows, name, 0, node.name)

    def scan(self, scan: Scan, size: int) -> None:
        """Write a Scan that runs so often."""
        node, states = scan.node, scan.states
        body = _Body.of(node, self)
        carried = list(node.input[:states])
        scanned: list[list[str]] = [[] for _ in scan.out_axes]
        for trip in range(size):
            slices = [
                self._slice(
                    name, size - 1 - trip if back else trip, axis, f"{node.name}_{trip}_{i}"
                )
                for i, (name, axis, back) in enumerate(
                    zip(scan.sequences, scan.in_axes, scan.backward, strict=True)
                )
            ]
            outputs = body.write(trip, [*carried, *slices])
            carried = outputs[:states]
            for rows, row in zip(scanned, outputs[states:], strict=True):
                rows.append(row)
        for name, result in zip(node.output[:states], carried, strict=True):
            self._give(result, name)
        for name, rows, axis, back in zip(
            node.output[states:], scanned, scan.out_axes, scan.reverse, strict=True
        ):
            if name:
                self._stack(rows[::-1] if back else rows, name, axis, node.name)

    def _constant(self, name: str, value: np.ndarray) -> str:
        name = f"{name}__{value.dtype}"
        self.add_constant(numpy_helper.from_array(value, name))
        return name

    def _node(self, operator: str, inputs: list[str], result: str, **attributes: Any) -> str:
        # A node that is named as its result.
        self.nodes.append(helper.make_node(operator, inputs, [result], name=result, **attributes))
        return result

    def _give(self, source: str, name: str) -> None:
        if name:
            self._node("Identity", [source], name)

    def _slice(self, source: str, index: int, axis: int, name: str) -> str:
        at = self._constant(f"{name}_at", np.array(index, "int64"))
        return self._node("Gather", [source, at], f"{name}_slice", axis=axis)

    def _stack(self, rows: list[str], name: str, axis: int, loop: str) -> None:
        if not rows:
            raise ValueError("it never runs, and gives rows of a shape that is not known")
        raised = []
        for i, row in enumerate(rows):  # one of outside is the same in each trip
            result = f"{name}__row_{i}"
            if self.opset >= 13:
                axes = self._constant(f"{loop}_axis{axis}", np.array([axis], "int64"))
                raised.append(self._node("Unsqueeze", [row, axes], result))
            else:
                raised.append(self._node("Unsqueeze", [row], result, axes=[axis]))
        self._node("Concat", raised, name, axis=axis)

    def _choose(self, condition: str, new: str, old: str, prefix: str) -> str:
        """An If, which refuses two values of different shapes."""
        branches = []
        for branch, source in (("then", new), ("else", old)):
            inner = f"{prefix}_{new}_{branch}"
            output = onnx.ValueInfoProto(name=inner)
            output.type.tensor_type.elem_type = 0
            copy = helper.make_node("Identity", [source], [inner], name=inner)
            branches.append(onnx.GraphProto(name=branch, node=[copy], output=[output]))
        return self._node(
            "If", [condition], f"{prefix}_{new}_kept",
            then_branch=branches[0], else_branch=branches[1],
        )  # fmt: skip


@dataclass
class _Body:
    """The body of one loop, to be written several times."""

    graph: onnx.GraphProto
    prefix: str
    into: Unrolled
    shared: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, node: onnx.NodeProto, into: Unrolled) -> _Body:
        graph = next(a.g for a in node.attribute if a.name == "body")
        body = cls(graph, node.name, into)
        for tensor in graph.initializer:
            copy = onnx.TensorProto.FromString(tensor.SerializeToString())
            copy.name = body.shared[tensor.name] = f"{node.name}__{tensor.name}"
            into.add_constant(copy)
        return body

    def write(self, trip: int, inputs: list[str]) -> list[str]:
        """Write the nodes of one trip; return the names of the body's outputs in it."""
        names = {value.name: given for value, given in zip(self.graph.input, inputs, strict=True)}
        names |= self.shared
        for name in defined_in(self.graph):
            names.setdefault(name, f"{self.prefix}_{trip}__{name}")
        for node in self.graph.node:
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.name = f"{self.prefix}_{trip}_{node.name or node.op_type}"
            renamed(copy, names)
            self.into.nodes.append(copy)
        return [names.get(output.name, output.name) for output in self.graph.output]
