"""A Loop or Scan of the main graph: what it carries, takes, gives, and how often it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tvmcomp.frontend.onnx.file import opset_version
from tvmcomp.frontend.onnx.recurrence.algebra import NotRecurrent
from tvmcomp.frontend.onnx.recurrence.cells import FUNCTIONS
from tvmcomp.frontend.onnx.recurrence.timed import MOST_TRIPS, Timed
from tvmcomp.frontend.onnx.support import nodes_of, subgraphs_of


@dataclass
class Taken:
    """What a trip takes out of an outer tensor: its slice at the trip's place.

    Attributes:
        tensor: ``[…, T, …]``, its shape, and the axis of time.
        places: of each trip's slice.
    """

    tensor: str
    shape: tuple[int, ...]
    axis: int
    places: list[int] = field(default_factory=list)


class Outside:
    """What loops of one model share: what is known of the tensors around them.

    Attributes:
        constants: of the main graph.
        shapes: of its tensors, where they are known.
        types: of its tensors, in ONNX's numbers.
        used: tensors that are read, or that the graph gives.
        trips: how many more may be followed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Look at the main graph of ``model``."""
        graph = model.graph
        self.model, self.opset = model, opset_version(model)
        self.trips = MOST_TRIPS
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        values = (*graph.input, *graph.value_info, *graph.output)
        self.shapes = {
            value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in values
            if value.type.tensor_type.HasField("shape")
            and all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
        }
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        for name, tensor in self.constants.items():
            self.shapes[name], self.types[name] = tuple(tensor.dims), tensor.data_type
        self.used = {name for node in nodes_of(graph) for name in node.input}
        for node in nodes_of(graph):
            self.used |= {value.name for inner in subgraphs_of(node) for value in inner.output}
        self.used |= {value.name for value in graph.output}


class Loop:
    """A Loop or Scan of the main graph.

    Attributes:
        body: its graph.
        outer: the constants outside, and ``constants`` those that the body reads, by its names.
        shapes: of the tensors outside.
        carried: what each carried value begins with, outside, by the body's name.
        after: what it becomes in a trip, and ``results`` what it is after all, outside.
        rows: of which outputs of the body the rows are put together, and the result's name.
        fixed: carried values that stay what they are, and what they are outside.
        slices: a Scan's, by the body's name.
        timed: what follows from a Loop's trips; None for a Scan.
        trips: how often it runs.
    """

    def __init__(self, outside: Outside, node: onnx.NodeProto) -> None:
        """Look at ``node``.

        Raises:
            NotRecurrent: what it carries and takes can't be followed.
        """
        self.outside, self.node = outside, node
        self.opset = outside.opset
        self.timed: Timed | None = None
        self.body: onnx.GraphProto = next(subgraphs_of(node), onnx.GraphProto())
        self.outer, self.shapes, self.types = outside.constants, outside.shapes, outside.types
        self.used = outside.used
        self.fixed: dict[str, str] = {}
        operators = {each.op_type for each in self.body.node}
        if not operators & {"MatMul", "Gemm"} or not operators & {*FUNCTIONS, "Clip"}:
            raise NotRecurrent("it has no product or no function")
        if any(True for inner in self.body.node for _ in subgraphs_of(inner)):
            raise NotRecurrent("there are graphs in its body")
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self._open_loop() if node.op_type == "Loop" else self._open_scan(given)

    def _open_loop(self) -> None:
        node, body = self.node, self.body
        if len(node.input) < 2 or len(body.input) != len(node.input) or not node.output:
            raise NotRecurrent("its body takes other values")
        names = [value.name for value in body.input[2:]]
        self.carried = dict(zip(names, node.input[2:], strict=True))
        self.after = dict(zip(names, (v.name for v in body.output[1:]), strict=False))
        self.results = dict(zip(names, node.output, strict=False))
        self._pass_on()
        rows = [value.name for value in body.output[1 + len(names) :]]
        self.rows = dict(zip(rows, node.output[len(names) :], strict=False))
        if len(body.output) < 1 + len(names) or len(set(rows)) != len(rows):
            raise NotRecurrent("its body gives other values")
        self.constants = self._constants()
        count, first = (self._number(name) for name in node.input[:2])
        if first is not None and not first.all():
            raise NotRecurrent("it never runs")
        most = None if count is None else int(count.item())
        initial = {
            name: numpy_helper.to_array(self.outer[outer])
            for name, outer in self.carried.items()
            if outer in self.outer
        }
        self.timed = self._followed(initial, most)
        self.trips = self.timed.trips
        self.slices: dict[str, Taken] = {}

    def _open_scan(self, given: dict[str, object]) -> None:
        node, body = self.node, self.body
        if self.opset < 9 or len(body.input) != len(node.input):
            raise NotRecurrent("its body takes other values")
        sources = int(str(given["num_scan_inputs"]))
        states = len(node.input) - sources
        names = [value.name for value in body.input]
        if any(given.get(f"scan_output_{kind}") for kind in ("axes", "directions")):
            raise NotRecurrent("its rows lie another way")
        self.carried = dict(zip(names[:states], node.input, strict=False))
        self.after = dict(zip(names[:states], (v.name for v in body.output), strict=False))
        self.results = dict(zip(names[:states], node.output, strict=False))
        self._pass_on()
        rows = [value.name for value in body.output[states:]]
        self.rows = dict(zip(rows, node.output[states:], strict=False))
        if len(body.output) < states or len(set(rows)) != len(rows):
            raise NotRecurrent("its body gives other values")
        self.constants = self._constants()
        axes = list(given.get("scan_input_axes", [0] * sources))  # type: ignore[call-overload]
        backward = list(given.get("scan_input_directions", [0] * sources))  # type: ignore[call-overload]
        self.slices, sizes = {}, set()
        for name, outer, axis, back in zip(
            names[states:], node.input[states:], axes, backward, strict=True
        ):
            shape = self.shape_of(outer)
            size = shape[axis]
            places = range(size)[::-1] if back else range(size)
            self.slices[name] = Taken(outer, shape, axis % len(shape), list(places))
            sizes.add(size)
        if len(sizes) != 1:
            raise NotRecurrent("its inputs have different lengths")
        (self.trips,) = sizes

    def _followed(self, initial: dict[str, np.ndarray], most: int | None) -> Timed:
        limit = self.outside.trips
        try:
            timed = Timed(self.outside.model, self.body, self.constants, initial, most, limit)
        except NotRecurrent:
            self.outside.trips -= min(limit, 1 + (most or 0))
            raise
        self.outside.trips -= timed.trips
        return timed

    def _pass_on(self) -> None:
        """Find the carried values that the body only hands on: weights of TensorFlow's loops."""
        copies = {n.output[0]: n.input[0] for n in self.body.node if n.op_type == "Identity"}
        for name, after in self.after.items():
            while after in copies:
                after = copies[after]
            if after == name:
                self.fixed[name] = self.carried[name]

    def _constants(self) -> dict[str, np.ndarray]:
        read = {name for node in self.body.node for name in node.input}
        read |= {value.name for value in self.body.output}
        tensors = [self.outer[name] for name in read if name in self.outer]
        found = {t.name: numpy_helper.to_array(t) for t in (*tensors, *self.body.initializer)}
        for name, outer in self.fixed.items():
            if outer in self.outer:
                found[name] = numpy_helper.to_array(self.outer[outer])
        return found

    def _number(self, name: str) -> np.ndarray | None:
        if not name:
            return None
        if name not in self.outer or math.prod(self.outer[name].dims) != 1:
            raise NotRecurrent("how often it runs depends on data")
        return numpy_helper.to_array(self.outer[name])

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor outside.

        Raises:
            NotRecurrent: it is not known.
        """
        if name not in self.shapes:
            raise NotRecurrent(f"the shape of {name!r} is not known")
        return self.shapes[name]

    def type_of(self, name: str) -> np.dtype:
        """The type of a tensor outside."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(self.types[name]))

    def is_float(self, name: str) -> bool:
        """Whether a tensor outside is of floats."""
        return self.types.get(name, 0) in (1, 10, 11)
