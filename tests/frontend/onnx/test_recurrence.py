"""Loops that are recurrent layers become these; others stay what they are."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx_models import run
from recurrent_loops import gru, loop_model, lstm, rnn

from tvmcomp.frontend import load_model
from tvmcomp.passes.rewriter import main_bindings, op_name
from tvmcomp.recurrent import RECURRENT

#: Cells and their options; the writer draws the rest.
CELLS = {
    "lstm": (lstm, {}),
    "lstm of hard gates": (lstm, {"hard": True}),
    "lstm with peepholes": (lstm, {"peepholes": True}),
    "gru": (gru, {}),
    "gru reset after": (gru, {"after": True}),
    "gru of hard gates": (gru, {"hard": True}),
    "rnn": (rnn, {}),
    "rnn of relu": (rnn, {"function": "Relu"}),
    "rnn of softsign": (rnn, {"function": "Softsign"}),
}


def layers(model):
    return sum(op_name(binding.value) == RECURRENT for binding in main_bindings(model.mod))


def compare(model, seed, found):
    """Both give the same, and so many recurrent layers are found."""
    rng = np.random.default_rng(seed)
    inputs = {
        value.name: rng.normal(size=[d.dim_value for d in value.type.tensor_type.shape.dim])
        for value in model.graph.input
    }
    inputs = {name: array.astype("float32") for name, array in inputs.items()}
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    loaded = load_model(model)
    assert layers(loaded) == found
    for ours, wanted in zip(run(loaded, inputs), session.run(None, inputs), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["scan", "loop", "buffer"])
@pytest.mark.parametrize("cell", CELLS)
def test_recognized(cell, form):
    seed = sum(map(ord, cell + form))
    rng = np.random.default_rng(seed)
    function, options = CELLS[cell]
    steps, batch, width, units = (int(n) for n in rng.integers(1, 6, 4))
    backward = bool(rng.random() < 0.5)
    model = loop_model(function, rng, steps, batch, width, units, form, backward, **options)
    compare(model, seed, 1)


def test_recognized_of_a_thousand_steps():
    compare(loop_model(lstm, np.random.default_rng(0), 3000, 1, 3, 4, "loop"), 0, 1)


def scaled(w, x, h, c, width, units):
    """A state that is half of a plain cell's."""
    return w.node("Mul", rnn(w, x, h, c, width, units)[0], w.constant(0.5)), c


def of_two(w, x, h, c, width, units):
    """A GRU whose gates have different functions."""
    z, r = w.gates(x, h, width, units, 2)
    z, r = w.node("Sigmoid", z), w.node("Tanh", r)
    n = w.node("Tanh", w.node("MatMul", w.node("Mul", r, h), w.weights(units, units)))
    less = w.node("Sub", w.constant(1.0), z)
    return w.node("Add", w.node("Mul", z, h), w.node("Mul", less, n)), c


def crossed(w, x, h, c, width, units):
    """An LSTM whose gates see the cell through a matrix."""
    i, f, g, o = w.gates(x, h, width, units, 4)
    i = w.node("Sigmoid", w.node("Add", i, w.node("MatMul", c, w.weights(units, units))))
    new = w.node("Add", w.node("Mul", w.node("Sigmoid", f), c), w.node("Mul", i, w.node("Tanh", g)))
    return w.node("Mul", w.node("Sigmoid", o), w.node("Tanh", new)), new


def of_other_row(w, x, h, c, width, units):
    """A plain cell whose rows are mixed with those of the batch's others."""
    total = w.node("Add", w.node("MatMul", x, w.weights(width, units)), h)
    mean = w.node("ReduceMean", total, axes=[0], keepdims=1)
    return w.node("Tanh", w.node("Add", total, mean)), c


@pytest.mark.parametrize("form", ["scan", "loop", "buffer"])
@pytest.mark.parametrize("cell", [scaled, of_two, crossed, of_other_row])
def test_not_recognized(cell, form):
    rng = np.random.default_rng(7)
    compare(loop_model(cell, rng, 3, 2, 3, 4, form), 7, 0)


def test_rows_of_something_else_are_not_the_state():
    rng = np.random.default_rng(3)
    model = loop_model(lstm, rng, 3, 2, 3, 4, "loop")
    body = model.graph.node[0].attribute[0].g
    body.node[-1].input[0] = "c"
    compare(model, 3, 0)
