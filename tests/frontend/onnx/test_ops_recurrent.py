"""Recurrent layers: what the drawn cases of ``operator_cases`` leave out, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_models import save

import tvmcomp
from tvmcomp.api import build
from tvmcomp.errors import ModelError

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def tensors(kind, steps, batch, width, units, directions, seed=0):
    """Every input of a layer, by the standard's name."""
    rng, rows = np.random.default_rng(seed), _GATES[kind] * units

    def draw(*shape):
        return rng.uniform(-1, 1, shape).astype(np.float32)

    root = np.float32(np.sqrt(units))
    found = {
        "X": draw(steps, batch, width),
        "W": draw(directions, rows, width) / np.float32(np.sqrt(width)),
        "R": draw(directions, rows, units) / root,
        "B": draw(directions, 2 * rows),
        "sequence_lens": rng.integers(0, steps, batch, "int32", endpoint=True),
        "initial_h": draw(directions, batch, units),
    }
    if kind == "LSTM":
        found["initial_c"] = draw(directions, batch, units)
        found["P"] = draw(directions, 3 * units)
    return found


def model(path, kind, given, outputs=("Y", "Y_h"), constant=("W", "R", "B", "P"), **attributes):
    """A network of one layer of the inputs ``given``; the others are left out."""
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    names += ["initial_c", "P"] if kind == "LSTM" else []
    inputs = [name if name in given else "" for name in names]
    while not inputs[-1]:
        inputs.pop()
    units = given["R"].shape[2]
    node = helper.make_node(kind, inputs, list(outputs), hidden_size=units, **attributes)
    weights = {name: array for name, array in given.items() if name in constant}
    fed = {name: array for name, array in given.items() if name not in constant}
    save(
        path,
        [node],
        {name: array.shape for name, array in fed.items()},
        [name for name in outputs if name],
        weights=weights,
        types={"sequence_lens": TensorProto.INT32},
    )
    return fed


def expected(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def built(path, feeds):
    with tvmcomp.load(build(path, log="none", reference=False)) as session:
        return list(session.run(feeds).values())


def assert_close(got, want):
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=3e-6)


@pytest.mark.parametrize("batch", range(1, 10))
def test_every_batch(batch, tmp_path):
    kind = ("LSTM", "GRU", "RNN")[batch % 3]
    given = tensors(kind, 6, batch, 5, (1, 3, 17, 24, 70)[batch % 5], 2, seed=batch)
    direction = {"direction": "bidirectional"}
    feeds = model(tmp_path / "m.onnx", kind, given, **direction)
    assert_close(built(tmp_path / "m.onnx", feeds), expected(tmp_path / "m.onnx", feeds))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_batch_before_time_is_the_same_with_axes_exchanged(kind, tmp_path):
    given = tensors(kind, 4, 3, 5, 7, 2)
    feeds = model(tmp_path / "m.onnx", kind, given, direction="bidirectional")
    sequence, state = expected(tmp_path / "m.onnx", feeds)
    exchanged = ("X", "initial_h", "initial_c")
    swapped = {n: np.ascontiguousarray(a.swapaxes(0, 1)) if n in exchanged else a
               for n, a in given.items()}  # fmt: skip
    feeds = model(tmp_path / "m.onnx", kind, swapped, direction="bidirectional", layout=1)
    want = [sequence.transpose(2, 0, 1, 3), state.transpose(1, 0, 2)]
    assert_close(built(tmp_path / "m.onnx", feeds), want)


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [("LSTM", ("", "", "Y_c")), ("LSTM", ("", "Y_h")), ("GRU", ("", "Y_h")), ("RNN", ("Y",))],
)
def test_outputs_left_out(kind, outputs, tmp_path):
    given = tensors(kind, 3, 2, 4, 9, 1)
    feeds = model(tmp_path / "m.onnx", kind, given, outputs, direction="reverse")
    assert_close(built(tmp_path / "m.onnx", feeds), expected(tmp_path / "m.onnx", feeds))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_all_inputs_constant_are_computed_with_their_attributes(kind, tmp_path):
    """onnx's reference, which folds constants, knows neither lengths nor clip."""
    given = tensors(kind, 3, 2, 4, 5, 1)
    feeds = model(tmp_path / "m.onnx", kind, given, constant=tuple(given), clip=0.2)
    want = expected(tmp_path / "m.onnx", feeds)
    # A network must have an input.
    assert not feeds
    assert_close(built(tmp_path / "m.onnx", feeds), want)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_weights_given_when_it_runs(kind, tmp_path):
    given = tensors(kind, 3, 2, 4, 19, 2)
    feeds = model(tmp_path / "m.onnx", kind, given, constant=(), direction="bidirectional")
    assert_close(built(tmp_path / "m.onnx", feeds), expected(tmp_path / "m.onnx", feeds))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"direction": "sideways"}, "direction"),
        ({"clip": -1.0}, "clip"),
        ({"activations": ["Tanh", "Tanh"]}, "activations"),
        ({"activations": ["Swish"]}, "Swish"),
        ({"activations": ["ScaledTanh"]}, "activation_alpha"),
        ({"layout": 2}, "layout"),
    ],
)
def test_wrong_attributes(change, says, tmp_path):
    model(tmp_path / "m.onnx", "RNN", tensors("RNN", 3, 2, 4, 5, 1), **change)
    with pytest.raises(ModelError, match=says):
        build(tmp_path / "m.onnx", log="none", reference=False)


@pytest.mark.parametrize("name", ["W", "B", "sequence_lens", "initial_h", "initial_c", "P"])
def test_wrong_shapes(name, tmp_path):
    given = tensors("LSTM", 3, 2, 4, 5, 1)
    given[name] = given[name][..., :-1]
    model(tmp_path / "m.onnx", "LSTM", given)
    with pytest.raises(ModelError, match=f"its {name} has the shape"):
        build(tmp_path / "m.onnx", log="none", reference=False)
