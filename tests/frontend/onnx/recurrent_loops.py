"""Recurrent layers written out as loops, in the ways that they may be written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass
class Writer:
    """Nodes and constants of one graph."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    held: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, operator, *inputs, outputs=1, **attributes):
        names = [f"{operator}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value, dtype="float32"):
        name = f"constant_{len(self.held)}"
        self.held.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weights(self, *shape):
        return self.constant(self.rng.normal(size=shape) * 0.5)

    def chance(self):
        return self.rng.random() < 0.5

    def gates(self, x, h, width, units, count):
        """``x W + h R + b``, split into so many."""
        if self.chance():
            both = self.node("Concat", x, h, axis=-1)
            total = self.node("MatMul", both, self.weights(width + units, count * units))
        else:
            of_x = self.node("MatMul", x, self.weights(width, count * units))
            of_h = self.node("MatMul", h, self.weights(units, count * units))
            total = self.node("Add", of_x, of_h)
        total = self.node("Add", total, self.weights(count * units))
        return self.parts(total, units, count)

    def parts(self, total, units, count):
        if count == 1:
            return [total]
        if self.chance():
            sizes = self.constant([units] * count, "int64")
            return self.node("Split", total, sizes, outputs=count, axis=-1)
        axis = self.constant([1], "int64")
        return [
            self.node("Slice", total, self.constant([i * units], "int64"),
                      self.constant([(i + 1) * units], "int64"), axis)
            for i in range(count)
        ]  # fmt: skip

    def gate(self, value, hard):
        if not hard:
            return self.node("Sigmoid", value)
        # As Keras writes hard_sigmoid: relu6(x + 3) / 6.
        more = self.node("Add", value, self.constant(3.0))
        clipped = self.node("Clip", more, self.constant(0.0), self.constant(6.0))
        return self.node("Mul", clipped, self.constant(1 / 6))


def lstm(w, x, h, c, width, units, hard=False, peepholes=False):
    """New states of an LSTM."""
    i, f, g, o = w.gates(x, h, width, units, 4)
    if peepholes:
        i = w.node("Add", i, w.node("Mul", c, w.weights(units)))
        f = w.node("Add", f, w.node("Mul", w.weights(units), c))
    i, f = w.gate(i, hard), w.gate(f, hard)
    new = w.node("Add", w.node("Mul", f, c), w.node("Mul", w.node("Tanh", g), i))
    if peepholes:
        o = w.node("Add", o, w.node("Mul", new, w.weights(units)))
    return w.node("Mul", w.gate(o, hard), w.node("Tanh", new)), new


def gru(w, x, h, c, width, units, after=False, hard=False):
    """The new state of a GRU, and ``c`` as it is."""
    z, r = (w.gate(each, hard) for each in w.gates(x, h, width, units, 2))
    of_x = w.node("Add", w.node("MatMul", x, w.weights(width, units)), w.weights(units))
    if after:
        of_h = w.node("MatMul", h, w.weights(units, units))
        reset = w.node("Mul", r, w.node("Add", of_h, w.weights(units)))
    else:
        reset = w.node("MatMul", w.node("Mul", h, r), w.weights(units, units))
    n = w.node("Tanh", w.node("Add", of_x, reset))
    form = w.rng.integers(4)
    if form == 0:  # z h + (1 - z) n
        less = w.node("Sub", w.constant(1.0), z)
        return w.node("Add", w.node("Mul", z, h), w.node("Mul", less, n)), c
    if form == 1:  # (1 - z) h + z n
        less = w.node("Sub", w.constant(1.0), z)
        return w.node("Add", w.node("Mul", less, h), w.node("Mul", n, z)), c
    if form == 2:  # n + z (h - n)
        return w.node("Add", n, w.node("Mul", z, w.node("Sub", h, n))), c
    # h + z (n - h)
    return w.node("Add", h, w.node("Mul", w.node("Sub", n, h), z)), c


def rnn(w, x, h, c, width, units, function="Tanh"):
    """The new state of a plain cell, and ``c`` as it is."""
    return w.node(function, *w.gates(x, h, width, units, 1)), c


def loop_model(cell, rng, steps, batch, width, units, form, backward=False, **options):
    """A network ``x [T, B, I] -> rows [T, B, H], last [B, H], last cell [B, H]``.

    Args:
        cell: one of the functions above.
        form: ``scan``, ``loop`` (rows are its outputs) or ``buffer`` (it carries the rows).
    """
    w = Writer(rng)
    state = [batch, units]
    if form == "scan":
        x = "x_t"
        h, c = cell(w, x, "h", "c", width, units, **options)
        body = helper.make_graph(
            [*w.nodes, *(helper.make_node("Identity", [n], [o])
                         for n, o in ((h, "h1"), (c, "c1"), (h, "row")))],
            "body",
            [_value("h", state), _value("c", state), _value("x_t", [batch, width])],
            [_value("h1", state), _value("c1", state), _value("row", state)],
            w.held,
        )  # fmt: skip
        outer = helper.make_node(
            "Scan", ["h0", "c0", "x"], ["last", "cell", "rows"], name="layer", body=body,
            num_scan_inputs=1, scan_input_directions=[int(backward)],
        )  # fmt: skip
        return _model([outer], steps, batch, width, units, [])
    i = w.node("Sub", w.constant(steps - 1, "int64"), "t") if backward else "t"
    x = w.node("Gather", "x", i, axis=0)
    h, c = cell(w, x, "h", "c", width, units, **options)
    step = w.node("Add", "t", w.constant(1, "int64"))
    carried, results = [("t", step), ("h", h), ("c", c)], ["end", "last", "cell"]
    inputs = [_value("n", [], TensorProto.INT64), _value("going", [], TensorProto.BOOL)]
    inputs += [_value("t", [], TensorProto.INT64), _value("h", state), _value("c", state)]
    given = ["steps", "", "zero", "h0", "c0"]
    if form == "buffer":
        one, zeros = w.constant([1], "int64"), w.constant([0], "int64")
        place = w.node("Reshape", "t", one)
        before = w.node("Slice", "rows_in", zeros, place, zeros)
        behind = w.node("Slice", "rows_in", w.node("Add", place, one),
                        w.constant([steps], "int64"), zeros)  # fmt: skip
        row = w.node("Reshape", h, w.constant([1, *state], "int64"))
        carried.append(("rows_in", w.node("Concat", before, row, behind, axis=0)))
        inputs.append(_value("rows_in", [steps, *state]))
        given.append("empty")
        results.append("rows")
    outputs = [("going", TensorProto.BOOL), *((new, 0) for _, new in carried)]
    copies = [helper.make_node("Identity", [name], [f"out_{i}"])
              for i, (name, _) in enumerate(outputs)]  # fmt: skip
    kinds = [TensorProto.BOOL, TensorProto.INT64] + [TensorProto.FLOAT] * (len(carried) - 1)
    described = [_value(f"out_{i}", None, kind) for i, kind in enumerate(kinds)]
    if form == "loop":
        copies.append(helper.make_node("Identity", [h], ["row"]))
        described.append(_value("row", None))
        results.append("rows")
    body = helper.make_graph([*w.nodes, *copies], "body", inputs, described, w.held)
    outer = helper.make_node("Loop", given, results, name="layer", body=body)
    held = [
        numpy_helper.from_array(np.array(steps), "steps"),
        numpy_helper.from_array(np.array(0), "zero"),
    ]
    if form == "buffer":
        empty = np.zeros((steps, batch, units), "float32")
        held.append(numpy_helper.from_array(empty, "empty"))
    return _model([outer], steps, batch, width, units, held)


def _value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes, steps, batch, width, units, held):
    state = [batch, units]
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [_value("x", [steps, batch, width]), _value("h0", state), _value("c0", state)],
        [_value("rows", [steps, *state]), _value("last", state), _value("cell", state)],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
