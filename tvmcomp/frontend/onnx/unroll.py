"""Write the bodies of Loop and Scan one after the other: how often they run is known.

    y = Loop(3, x; body)    ->    x1 = body(x); x2 = body(x1); y = body(x2)

How often a Loop runs is its trip count, where its body never ends it early; or what its condition
says, where that follows from constants (counters). A condition that depends on data, beside a
constant trip count, keeps the values of before where it does not hold any more: both are computed.
A Scan runs once for each slice of its inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.limits import MOST_TRIPS, UNROLLED_NODES
from tvmcomp.frontend.onnx.support import nodes_of, subgraphs_of
from tvmcomp.frontend.onnx.trip_count import defined_in, read_inside, trip_count

_STANDARD = ("", "ai.onnx")


def unroll_loops(model: onnx.ModelProto, most_nodes: int, *, where: str) -> bool:
    """Unroll Loops and Scans of the main graph of ``model``, simplified, in place.

    One that reads what another gives waits: the shapes that say how often it runs may only be
    known once the other is unrolled.

    Args:
        model: the model.
        most_nodes: that it may become.
        where: names it in errors.

    Returns:
        Whether there were any; others may have been inside them, or wait.

    Raises:
        ModelError: how often one runs is not known, or its body would be written too often.
    """
    unroller = _Unroller(model, most_nodes, where)
    unroller.run()
    return unroller.changed


class _Unroller:
    def __init__(self, model: onnx.ModelProto, most_nodes: int, where: str) -> None:
        self.model, self.graph, self.where = model, model.graph, where
        self.opset = opset_version(model)
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.shapes = {
            value.name: [dim.dim_value if dim.HasField("dim_value") else None
                         for dim in value.type.tensor_type.shape.dim]
            for value in (*self.graph.input, *self.graph.value_info, *self.graph.output)
            if value.type.tensor_type.HasField("shape")
        }  # fmt: skip
        self.shapes |= {name: list(tensor.dims) for name, tensor in self.constants.items()}
        self.nodes: list[onnx.NodeProto] = []
        self.limit = most_nodes
        self.changed = False

    def run(self) -> None:
        given: set[str] = set()  # by loops that are unrolled now
        for node in list(self.graph.node):
            unroll = {"Loop": self._loop, "Scan": self._scan}.get(node.op_type)
            waits = not given.isdisjoint((*node.input, *read_inside(node)))
            if waits:
                given.update(filter(None, node.output))
            if unroll is None or waits or node.domain not in _STANDARD:
                self.nodes.append(node)
                continue
            given.update(filter(None, node.output))
            self.changed = True
            # Two loops may have one name.
            name = node.name
            node.name = f"{name}/{len(self.nodes)}"
            try:
                unroll(node)
            # A body that is not as its operator has it: of other inputs, say.
            except Exception as error:
                raise ModelError(
                    f"node {name!r} ({node.op_type}) can't be compiled: {error}",
                    where=self.where,
                    hint="Export the model with the loop unrolled, or run it outside the network.",
                ) from error
        if self.changed:
            del self.graph.node[:]
            self.graph.node.extend(self.nodes)
            del self.graph.value_info[:]

    def _loop(self, node: onnx.NodeProto) -> None:
        body = _Body.of(node, self)
        count = self._value(node.input[0]) if node.input[0] else None
        if node.input[0] and count is None:
            raise ValueError("its trip count is computed when the network runs")
        given = node.input[1] if len(node.input) > 1 else ""
        condition = self._value(given) if given else np.array(True)
        carried = list(node.input[2:])
        most = None if count is None else max(int(count.item()), 0)
        trips: int | None = None
        if condition is not None:
            trips = (
                0
                if not condition.item()
                else trip_count(self.model, body.graph, self._constants_of(body), carried, most)
            )
        ends_early = trips is None
        if trips is None:
            if most is None:
                raise ValueError("its condition depends on data, and it has no trip count")
            trips = most
        self._check_size(body, trips)
        results = len(carried)
        scanned: list[list[str]] = [[] for _ in body.graph.output[1 + results :]]
        if ends_early and scanned:
            raise ValueError("how many rows it gives depends on data")
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

    def _scan(self, node: onnx.NodeProto) -> None:
        if self.opset < 9:
            raise ValueError("the Scan of operator set 8 is not supported")
        body = _Body.of(node, self)
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        sources = given["num_scan_inputs"]
        states = len(node.input) - sources
        carried, scanned_inputs = list(node.input[:states]), list(node.input[states:])
        gives = len(node.output) - states
        in_axes = given.get("scan_input_axes", [0] * sources)
        backward = given.get("scan_input_directions", [0] * sources)
        shapes = [self.shapes.get(name) for name in scanned_inputs]
        sizes = {
            shape[axis] if shape and -len(shape) <= axis < len(shape) else None
            for shape, axis in zip(shapes, in_axes, strict=True)
        }
        size = sizes.pop() if len(sizes) == 1 else None
        if size is None:
            raise ValueError(f"how often it runs is not known: its inputs have shapes {shapes}")
        self._check_size(body, size)
        scanned: list[list[str]] = [[] for _ in range(gives)]
        for trip in range(size):
            slices = [
                self._slice(
                    name, size - 1 - trip if back else trip, axis, f"{node.name}_{trip}_{i}"
                )
                for i, (name, axis, back) in enumerate(
                    zip(scanned_inputs, in_axes, backward, strict=True)
                )
            ]
            outputs = body.write(trip, [*carried, *slices])
            carried = outputs[:states]
            for rows, row in zip(scanned, outputs[states:], strict=True):
                rows.append(row)
        for name, result in zip(node.output[:states], carried, strict=True):
            self._give(result, name)
        out_axes = given.get("scan_output_axes", [0] * gives)
        reverse = given.get("scan_output_directions", [0] * gives)
        for name, rows, axis, back in zip(
            node.output[states:], scanned, out_axes, reverse, strict=True
        ):
            if name:
                self._stack(rows[::-1] if back else rows, name, axis, node.name)

    def _check_size(self, body: _Body, trips: int) -> None:
        written = trips * sum(1 for _ in nodes_of(body.graph))
        if trips > MOST_TRIPS or written + len(self.nodes) > self.limit:
            raise ValueError(
                f"it runs {trips:,} times, which unrolls to {written:,} nodes; the limits are "
                f"{MOST_TRIPS:,} and {UNROLLED_NODES:,}"
            )

    def _constants_of(self, body: _Body) -> dict[str, onnx.TensorProto]:
        """The constants that ``body`` reads, its own among them, by the names that it has."""
        own = {name: self.constants[renamed] for name, renamed in body.shared.items()}
        return {**self.constants, **own}

    def _value(self, name: str) -> np.ndarray | None:
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def _constant(self, name: str, value: np.ndarray) -> str:
        name = f"{name}__{value.dtype}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(value, name)
            self.graph.initializer.append(self.constants[name])
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
        for row in rows:
            if self.opset >= 13:
                axes = self._constant(f"{loop}_axis{axis}", np.array([axis], "int64"))
                raised.append(self._node("Unsqueeze", [row, axes], f"{row}__row_{name}"))
            else:
                raised.append(self._node("Unsqueeze", [row], f"{row}__row_{name}", axes=[axis]))
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
    unroller: _Unroller
    shared: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, node: onnx.NodeProto, unroller: _Unroller) -> _Body:
        graph = next(a.g for a in node.attribute if a.name == "body")
        body = cls(graph, node.name, unroller)
        for tensor in graph.initializer:
            copy = onnx.TensorProto.FromString(tensor.SerializeToString())
            copy.name = body.shared[tensor.name] = f"{node.name}__{tensor.name}"
            unroller.graph.initializer.append(copy)
            unroller.constants[copy.name] = copy
            unroller.shapes[copy.name] = list(copy.dims)
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
            _rename(copy, names)
            self.unroller.nodes.append(copy)
        return [names.get(output.name, output.name) for output in self.graph.output]


def _rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    """Rename the tensors of ``node`` and of the graphs in it, in place."""
    for tensors in (node.input, node.output):
        tensors[:] = [names.get(name, name) for name in tensors]
    for graph in subgraphs_of(node):
        del graph.value_info[:]
        values: Iterable[Any] = (*graph.input, *graph.output, *graph.initializer)
        for value in values:
            value.name = names.get(value.name, value.name)
        for inner in graph.node:
            _rename(inner, names)
