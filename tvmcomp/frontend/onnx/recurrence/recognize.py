"""Loops and Scans that are a recurrent layer -> LSTM, GRU or RNN nodes, which have kernels.

TensorFlow's layers come so: tf2onnx and TensorFlow Lite's converter write a loop over time, which
takes a slice of the input at each trip, computes the cell, and puts a row of the output together or
into a tensor that it carries. The cell is recognized by what it computes (:mod:`.algebra`), and not
by names or by the order of its nodes. What is not recognized stays a loop.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tvmcomp.frontend.onnx.recurrence import algebra
from tvmcomp.frontend.onnx.recurrence.algebra import NotRecurrent, Sum
from tvmcomp.frontend.onnx.recurrence.body import Body
from tvmcomp.frontend.onnx.recurrence.cells import Cell, cell_of
from tvmcomp.frontend.onnx.recurrence.loop import Loop, Outside, Taken
from tvmcomp.frontend.onnx.recurrence.written import rows_written

#: What a body that is not as its operator has it leads to: operands that are missing, of other
#: shapes or types. It stays a loop, and what is wrong is said where that is written.
_MALFORMED = (IndexError, KeyError, TypeError, ValueError)


def recognize_recurrence(model: onnx.ModelProto) -> bool:
    """Replace the loops of the main graph of ``model``, simplified, that are recurrent layers.

    Returns:
        Whether there were any.
    """
    graph = model.graph
    loops = [node for node in graph.node if node.op_type in ("Loop", "Scan") and not node.domain]
    if not loops:
        return False
    replaced, outside = {}, Outside(model)
    for node in loops:
        try:
            replaced[id(node)] = _Layer(Loop(outside, node)).nodes()
        except (NotRecurrent, *_MALFORMED):
            continue
    if replaced:
        nodes = [new for old in graph.node for new in replaced.get(id(old), [old])]
        del graph.node[:]
        graph.node.extend(nodes)
    return bool(replaced)


class _Layer:
    """The nodes that take a loop's place."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.taken: dict[str, Taken] = {}
        self.new: list[onnx.NodeProto] = []
        # Two loops may have one name; no two tensors do.
        self.prefix = f"{next(filter(None, loop.node.output))}//layer"

    def nodes(self) -> list[onnx.NodeProto]:
        """The nodes in the loop's place.

        Raises:
            NotRecurrent: there are none.
        """
        if not self.loop.trips:
            raise NotRecurrent("it never runs")
        used = self.loop.outside.used
        counters = set() if self.loop.timed is None else set(self.loop.timed.counters)
        leaves = {}
        for name, outer in self.loop.carried.items():
            shape = self.loop.shapes.get(outer)
            if (
                name not in counters
                and name not in self.loop.fixed
                and shape
                and len(shape) > 1
                and self.loop.is_float(outer)
            ):
                leaves[name] = algebra.leaf("state", name, shape)
        for name, taken in self.loop.slices.items():
            self.taken[name] = taken
            shape = taken.shape[: taken.axis] + taken.shape[taken.axis + 1 :]
            leaves[name] = algebra.leaf("input", name, shape)
        body = Body(self.loop.body, self.loop.constants, leaves, self.loop.opset, self._take)
        updates = {}
        for name in leaves.keys() - self.loop.slices.keys():
            try:
                update = body.sum(self.loop.after[name])
            except NotRecurrent:
                continue  # a tensor that rows are written into, say
            if update.shape == leaves[name].shape:
                updates[name] = update
        cell = self._cell(updates)
        self._write(cell, updates, body, used)
        return self.new

    def _cell(self, updates: dict[str, Sum]) -> Cell:
        why = "it carries no state"
        for name in updates:
            try:
                return cell_of(name, updates)
            except NotRecurrent as error:
                why = str(error)
        raise NotRecurrent(why)

    def _write(self, cell: Cell, updates: dict[str, Sum], body: Body, used: set[str]) -> None:
        hidden, name = updates[cell.hidden], self.prefix
        batch, width = hidden.rows, hidden.width
        if {batch} != {self._rows_of(self.taken[each]) for each in cell.inputs}:
            raise NotRecurrent("its input has other rows than its state")
        dtype = self.loop.type_of(self.loop.carried[cell.hidden])
        x = self._input(cell, batch)
        states = [self._state(s, batch, width) for s in (cell.hidden, cell.cell) if s]
        array = {
            key: self._constant(f"{name}/{key}", value.astype(dtype)[None])
            for key, value in (("W", cell.weight), ("R", cell.recurrent), ("B", cell.bias))
        }
        inputs = [x, *array.values(), "", *states]
        if cell.peepholes is not None:
            inputs.append(self._constant(f"{name}/P", cell.peepholes.astype(dtype)[None]))
        outputs = [f"{name}/Y", f"{name}/Y_h", f"{name}/Y_c"][: 3 if cell.kind == "LSTM" else 2]
        attributes: dict[str, object] = {
            "activations": [atom.function for atom in cell.functions],
            "activation_alpha": [atom.alpha for atom in cell.functions],
            "activation_beta": [atom.beta for atom in cell.functions],
        }
        if all(atom.function in ("Sigmoid", "Tanh", "Relu") for atom in cell.functions):
            del attributes["activation_alpha"], attributes["activation_beta"]
        if cell.reset_after:
            attributes["linear_before_reset"] = 1
        self.new.append(
            helper.make_node(
                cell.kind,
                inputs,
                outputs,
                name=self.loop.node.name,
                hidden_size=width,
                **attributes,
            )
        )
        last = {cell.hidden: outputs[1], cell.cell: outputs[-1]}
        for state, result in self.loop.results.items():
            if result in used:
                self._give_result(state, result, cell, hidden, body, last, outputs[0])
        for row, result in self.loop.rows.items():
            if result in used:
                value = body.sum(row)
                if value.key != hidden.key:
                    raise NotRecurrent("a row is not the state")
                self._reshape(outputs[0], (self.loop.trips, *value.shape), result)

    def _give_result(
        self,
        state: str,
        result: str,
        cell: Cell,
        hidden: Sum,
        body: Body,
        last: dict[str, str],
        rows: str,
    ) -> None:
        """Make what a carried value is after the last trip."""
        shape = self.loop.shape_of(self.loop.carried[state])
        if self.loop.timed is not None and state in self.loop.timed.counters:
            value = self._constant(f"{result}/end", self.loop.timed.finally_(state))
            self.new.append(helper.make_node("Identity", [value], [result], name=result))
        elif state in self.loop.fixed:
            self.new.append(
                helper.make_node("Identity", [self.loop.fixed[state]], [result], name=result)
            )
        elif state in last:
            self._reshape(last[state], shape, result)
        elif self.loop.after[state] in body.sums:
            update = body.sum(self.loop.after[state])
            if update.key != hidden.key:
                raise NotRecurrent("another state is used")
            self._reshape(last[cell.hidden], update.shape, result)
        else:
            if self.loop.timed is None:
                raise NotRecurrent("another state is used")
            row, backward = rows_written(
                self.loop.body, state, self.loop.after[state], self.loop.timed, shape
            )
            if body.sum(row).key != hidden.key or body.sum(row).shape != (1, *shape[1:]):
                raise NotRecurrent("a row is not the state")
            self._reshape(self._reversed(rows) if backward else rows, shape, result)

    def _take(self, node: onnx.NodeProto) -> Sum | None:
        """What a Gather takes out of an outer tensor at each trip."""
        if node.op_type != "Gather" or self.loop.timed is None or len(node.input) != 2:
            return None
        tensor, place = self.loop.fixed.get(node.input[0], node.input[0]), node.input[1]
        if tensor not in self.loop.shapes or tensor in self.loop.constants:
            return None
        if place not in self.loop.timed.names or not self.loop.is_float(tensor):
            return None
        shape = self.loop.shapes[tensor]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0) % max(len(shape), 1)
        places = self.loop.timed.at(place)
        if any(each.ndim for each in places) or len(shape) < 3:
            raise NotRecurrent("it takes more than one slice")
        found = [int(each) % shape[axis] for each in places]
        name = node.output[0]
        self.taken[name] = Taken(tensor, shape, axis, found)
        return algebra.leaf("input", name, shape[:axis] + shape[axis + 1 :])

    def _input(self, cell: Cell, batch: int) -> str:
        """The tensor ``[T, B, I]`` of the steps in the order of the trips."""
        parts = []
        for name, width in cell.inputs.items():
            taken = self.taken[name]
            source, axes = taken.tensor, list(range(len(taken.shape)))
            if taken.axis:
                axes.remove(taken.axis)
                source = self._node("Transpose", [source], perm=[taken.axis, *axes])
            size, places = taken.shape[taken.axis], taken.places
            if places == list(range(places[0], places[0] + self.loop.trips)):
                if self.loop.trips < size:
                    source = self._sliced(source, places[0], places[-1] + 1, 1)
            elif places == list(range(size))[::-1]:
                source = self._reversed(source)
            else:
                raise NotRecurrent("its steps are taken in another order")
            parts.append(self._reshaped(source, (self.loop.trips, batch, width)))
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, axis=2)

    def _state(self, name: str, batch: int, width: int) -> str:
        return self._reshaped(self.loop.carried[name], (1, batch, width))

    def _rows_of(self, taken: Taken) -> int:
        if taken.axis == len(taken.shape) - 1:
            return -1
        return math.prod(taken.shape[:-1]) // taken.shape[taken.axis]

    # What is written

    def _node(self, operator: str, inputs: list[str], **attributes: object) -> str:
        result = f"{self.prefix}/{operator}_{len(self.new)}"
        self.new.append(helper.make_node(operator, inputs, [result], name=result, **attributes))
        return result

    def _reversed(self, source: str) -> str:
        return self._sliced(source, -1, -(2**31), -1)

    def _sliced(self, source: str, begin: int, end: int, step: int) -> str:
        """Some of the steps, on the first axis."""
        if self.loop.opset < 10:
            raise NotRecurrent("operator set 9 has no slices of any step")
        given = [
            self._constant(f"{self.prefix}/{key}_{len(self.new)}", np.array([value]))
            for key, value in (("begin", begin), ("end", end), ("axis", 0), ("step", step))
        ]
        return self._node("Slice", [source, *given])

    def _reshaped(self, source: str, shape: tuple[int, ...]) -> str:
        if self.loop.shapes.get(source) == shape:
            return source
        result = f"{self.prefix}/shaped_{len(self.new)}"
        self._reshape(source, shape, result)
        return result

    def _reshape(self, source: str, shape: tuple[int, ...], result: str) -> None:
        sizes = self._constant(f"{result}/shape", np.array(shape, "int64"))
        self.new.append(helper.make_node("Reshape", [source, sizes], [result], name=result))

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.loop.outside.model.graph.initializer.append(
            numpy_helper.from_array(np.asarray(value), name)
        )
        return name
