"""Every Loop and Scan of a graph: written out where it is short, kept as a loop where it is not.

How often a Loop runs is its trip count, where its body never ends it early; or what its condition
says, where that follows from constants (counters). A Scan runs once for each slice of its inputs.
What is written out is a network like any other, whose operators become integers; what can't be
kept, as the values that it carries change their shapes, is written out up to larger limits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tvmcomp.errors import ModelError
from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.kept_loops import NotKept, Trips, kept_loop
from tvmcomp.frontend.onnx.limits import (
    MOST_TRIPS,
    SHORT_NODES,
    UNROLLED_NODES,
)
from tvmcomp.frontend.onnx.places_bound import places_bound
from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN
from tvmcomp.frontend.onnx.scans import Scan
from tvmcomp.frontend.onnx.support import nodes_of, subgraphs_of
from tvmcomp.frontend.onnx.trip_count import read_inside, trip_count
from tvmcomp.frontend.onnx.unrolled import Unrolled

_STANDARD = ("", "ai.onnx")


def write_loops(
    model: onnx.ModelProto,
    most_nodes: int,
    simplify: Callable[[onnx.ModelProto], onnx.ModelProto],
    *,
    where: str,
) -> bool:
    """Write out or keep the Loops and Scans of ``model``, simplified, in place.

    Those of the main graph and of the branches in it: bodies are simplified where they are kept.

    One that reads what another gives waits: the shapes that say how often it runs may only be
    known once the other is done.

    Args:
        model: the model.
        most_nodes: that it may become by writing loops out.
        simplify: makes a body that is kept, as a model, one of the operators that are imported.
        where: names the model in errors.

    Returns:
        Whether there were any; others may have been inside them, or wait.

    Raises:
        ModelError: a loop can be neither kept nor written out.
    """
    writer = _Loops(model, model.graph, most_nodes, simplify, where)
    writer.run()
    return writer.changed


class _Loops:
    def __init__(
        self,
        model: onnx.ModelProto,
        graph: onnx.GraphProto,
        most_nodes: int,
        simplify: Callable[[onnx.ModelProto], onnx.ModelProto],
        where: str,
        around: _Loops | None = None,
    ) -> None:
        self.model, self.graph, self.where = model, graph, where
        self.simplify, self.limit = simplify, most_nodes
        self.opset = opset_version(model)
        own = (*self.graph.input, *self.graph.value_info, *self.graph.output)
        outer = {} if around is None else around.types
        self.types: dict[str, onnx.TypeProto] = {**outer, **{v.name: v.type for v in own}}
        held = {} if around is None else around.out.constants
        self.out: Unrolled = Unrolled(self.graph, self.opset, held)
        #: Types of the results of loops that are kept.
        self.known: list[onnx.ValueInfoProto] = []
        self.changed = False

    def run(self) -> None:
        given: set[str] = set()  # by loops that are written now
        for node in list(self.graph.node):
            write = {"Loop": self._loop, "Scan": self._scan, "If": self._if}.get(node.op_type)
            waits = not given.isdisjoint((*node.input, *read_inside(node)))
            if waits:
                given.update(filter(None, node.output))
            if write is None or waits or node.domain not in _STANDARD:
                self.out.nodes.append(node)
                continue
            if node.op_type == "If":
                self._if(node)
                continue
            given.update(filter(None, node.output))
            self.changed = True
            # Two loops may have one name.
            name = node.name
            node.name = f"{name}/{len(self.out.nodes)}"
            try:
                write(node)
            except ModelError:  # of a node in a body that is kept
                raise
            # A body that is not as its operator has it: of other inputs, say.
            except Exception as error:
                raise ModelError(
                    f"node {name!r} ({node.op_type}) can't be compiled: {error}",
                    where=self.where,
                    hint="Export the model with the loop unrolled, or run it outside the network.",
                ) from error
        if self.changed:
            del self.graph.node[:]
            self.graph.node.extend(self.out.nodes)
            del self.graph.value_info[:]
            self.graph.value_info.extend(self.known)

    def _loop(self, node: onnx.NodeProto) -> None:
        body = next(a.g for a in node.attribute if a.name == "body")
        count = self._value(node.input[0]) if node.input[0] else None
        counted = bool(node.input[0]) and count is None  # when the network runs
        given = node.input[1] if len(node.input) > 1 else ""
        condition = self._value(given) if given else np.array(True)
        carried = list(node.input[2:])
        most = None if count is None else max(int(count.item()), 0)
        trips: int | None = None
        own = {tensor.name: tensor for tensor in body.initializer}
        constants = {**self.out.constants, **own}
        if condition is not None and not counted:
            trips = (
                trip_count(self.model, body, constants, carried, most) if condition.item() else 0
            )
        if trips is None and most is None:
            most = places_bound(body, carried, constants, self._shape)
        found = Trips(most if trips is None else trips, trips is None)
        rows = set(filter(None, node.output[len(carried) :]))
        if found.bound and not found.conditional and self._is_short(body, found.bound):
            self.out.loop(node, found.bound, False)
            return
        try:
            self._keep(node, found)
        except NotKept as reason:
            if found.bound is None or not node.input[0] or counted:
                if counted:
                    why = "its trip count is computed when the network runs"
                else:
                    why = "its condition depends on data, and it has no trip count"
                raise ValueError(f"{why}; it can't stay a loop: {reason}") from reason
            if found.conditional and rows:
                raise ValueError(str(reason)) from reason
            self._check_size(body, found.bound, str(reason))
            self.out.loop(node, found.bound, found.conditional)

    def _if(self, node: onnx.NodeProto) -> None:
        """The loops in its branches."""
        self.out.nodes.append(node)
        for graph in subgraphs_of(node):
            branch = _Loops(self.model, graph, self.limit, self.simplify, self.where, self)
            branch.run()
            self.changed |= branch.changed

    def _scan(self, node: onnx.NodeProto) -> None:
        if self.opset < 9:
            raise ValueError("the Scan of operator set 8 is not supported")
        scan = Scan.of(node)
        size = scan.size([self._shape(name) for name in scan.sequences])
        if size and self._is_short(scan.body, size):
            self.out.scan(scan, size)
            return
        loop, constants = scan.as_loop(size)
        before = len(self.out.nodes)
        for constant in constants:
            self.out.add_constant(constant)
        try:
            self._keep(loop, Trips(size, False))
        except NotKept as reason:
            del self.out.nodes[before:]
            self._check_size(scan.body, size, str(reason))
            self.out.scan(scan, size)
            return
        ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in self.known}
        nodes, constants = scan.arranged(ranks)
        self.out.nodes.extend(nodes)
        for constant in constants:
            self.out.add_constant(constant)

    def _keep(self, node: onnx.NodeProto, trips: Trips) -> None:
        kept, known, constants = kept_loop(
            self.model, node, trips, self.types, self.out.constants, self.simplify
        )
        for constant in constants:
            self.out.add_constant(constant)
        self.known += known
        if trips.bound == 0:
            self._never(node, known)
            return
        self.out.nodes.append(kept)
        if DOMAIN not in {each.domain for each in self.model.opset_import}:
            self.model.opset_import.append(helper.make_opsetid(DOMAIN, 1))

    def _never(self, node: onnx.NodeProto, known: list[onnx.ValueInfoProto]) -> None:
        """A loop without trips: what it carries, and rows of none."""
        types = {value.name: value.type.tensor_type for value in known}
        sources = [*node.input[2:], *("" for _ in node.output[len(node.input) - 2 :])]
        for name, source in zip(node.output, sources, strict=False):
            if not name:
                continue
            if not source:
                dims = [dim.dim_value for dim in types[name].shape.dim]
                dtype = helper.tensor_dtype_to_np_dtype(types[name].elem_type)
                source = f"{name}/none"
                self.out.add_constant(numpy_helper.from_array(np.zeros(dims, dtype), source))
            self.out.nodes.append(helper.make_node("Identity", [source], [name], name=name))

    def _is_short(self, body: onnx.GraphProto, trips: int) -> bool:
        """Whether a loop is better written out."""
        written = trips * self._written(body)
        fits = written + len(self.out.nodes) <= self.limit
        return trips <= MOST_TRIPS and written <= SHORT_NODES and fits

    def _written(self, body: onnx.GraphProto) -> int:
        """The nodes of a body with the loops in it written out, as far as their trips are known."""
        total = 0
        for node in body.node:
            count = self._value(node.input[0]) if node.op_type == "Loop" and node.input else None
            trips = 1 if count is None or node.domain else max(1, int(count.item()))
            total += 1 + trips * sum(map(self._written, subgraphs_of(node)))
        return total

    def _check_size(self, body: onnx.GraphProto, trips: int, reason: str) -> None:
        written = trips * _size(body)
        if trips > MOST_TRIPS or written + len(self.out.nodes) > self.limit:
            raise ValueError(
                f"it runs {trips:,} times, which unrolls to {written:,} nodes; the limits are "
                f"{MOST_TRIPS:,} and {UNROLLED_NODES:,}; and it can't stay a loop: {reason}"
            )

    def _value(self, name: str) -> np.ndarray | None:
        constants = self.out.constants
        return numpy_helper.to_array(constants[name]) if name in constants else None

    def _shape(self, name: str) -> list[int | None] | None:
        if name in self.out.constants:
            return list(self.out.constants[name].dims)
        kind = self.types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            return None
        dims = kind.tensor_type.shape.dim
        return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _size(body: onnx.GraphProto) -> int:
    """The nodes of a body, and of the graphs in it."""
    return sum(1 for _ in nodes_of(body))
