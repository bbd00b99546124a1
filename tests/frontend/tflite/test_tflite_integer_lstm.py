"""LSTM layers in integers alone, equal to LiteRT's interpreter in every element."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from litert import converted, litert
from tflite_models import Graph, Op, Tensor, constant, model

import tvmcomp
from tvmcomp.errors import ModelError

KIND, OPTIONS = "UNIDIRECTIONAL_SEQUENCE_LSTM", "UnidirectionalSequenceLSTMOptions"


def layer(rng, name, source, result, *, exponent=-11, clip=10.0, time_major=False, apart=False):
    """A layer's tensors and its operator.

    Args:
        rng: of weights and scales.
        name: begins the names of its own tensors.
        source, result: tensors of input and output.
        exponent: of the cell's scale.
        clip, time_major: options.
        apart: the state is multiplied with another scale than it is given in.
    """
    width, units = source.shape[-1], result.shape[-1]
    batch = source.shape[1] if time_major else source.shape[0]
    reach = 1 / np.sqrt(width), 1 / np.sqrt(units)
    tensors = [
        constant(f"{name}w{i}", rng.integers(-127, 128, (units, size)).astype("int8"),
                 scale=rng.uniform(0.5, 4) * reach[i >= 4] / 127)
        for i, size in enumerate([width] * 4 + [units] * 4)
    ]  # fmt: skip
    scales = [source.scale * tensor.scale for tensor in tensors[:4]]
    biases = [
        constant(f"{name}b{i}", (rng.normal(0, 0.5, units) / s).astype("int32"), scale=s)
        for i, s in enumerate(scales)
    ]
    other = {"scale": result.scale * 0.9, "zero": result.zero + 3} if apart else {}
    state = replace(result, name=f"{name}h", shape=(batch, units), variable=True, **other)
    cell = Tensor(f"{name}c", (batch, units), "int16", scale=2.0**exponent, variable=True)
    hidden = replace(result, name=f"{name}hidden", shape=())
    inner = [Tensor(f"{name}i{i}", ()) for i in range(4)] + [hidden]
    names = [t.name for t in (*tensors, *biases, state, cell)]
    given = [source.name, *names[:8], "", "", "", *names[8:12], "", "", *names[12:]]
    fields = {"FusedActivationFunction": 4, "CellClip": clip, "TimeMajor": time_major}
    op = Op(KIND, given, [result.name], OPTIONS, fields,
            intermediates=[t.name for t in inner])  # fmt: skip
    return [*tensors, *biases, state, cell, *inner], op


def tensor(rng, name, shape):
    scale, zero = rng.uniform(0.004, 0.04), int(rng.integers(-90, 90))
    return Tensor(name, shape, "int8", scale=scale, zero=zero)


def state_of(rng, name, shape):
    scale, zero = rng.uniform(0.005, 0.009), int(rng.integers(-9, 9))
    return Tensor(name, shape, "int8", scale=scale, zero=zero)


def single(seed, batch, steps, width, units, time_major=False, **more):
    """The file of one layer, and its input."""
    rng = np.random.default_rng(seed)
    lead = (steps, batch) if time_major else (batch, steps)
    x, y = tensor(rng, "x", (*lead, width)), state_of(rng, "y", (*lead, units))
    tensors, op = layer(rng, "l", x, y, time_major=time_major, **more)
    feeds = {"x": rng.integers(-128, 128, x.shape).astype("int8")}
    return model(Graph([x, *tensors, y], [op], ["x"], ["y"])), feeds


def assert_equal(path, feeds, distinct=20):
    with tvmcomp.load(tvmcomp.build(path)) as session:
        for _ in range(2):  # the second run begins anew
            given = session.run(feeds)
    for ours, theirs in zip(given.values(), litert(path, feeds), strict=True):
        assert len(np.unique(theirs)) >= distinct
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("sizes", "more"),
    [
        ((1, 9, 5, 7), {}),
        ((1, 20, 28, 48), {"apart": True}),
        ((3, 6, 17, 33), {"exponent": -9}),
        ((9, 4, 3, 10), {"time_major": True, "exponent": -15}),
        ((2, 7, 1, 65), {"clip": 0.5, "exponent": -12}),
        ((1, 5, 130, 20), {"clip": 0.0, "exponent": -10}),
    ],
)
def test_a_layer(tmp_path, sizes, more):
    path = tmp_path / "m.tflite"
    written, feeds = single(sum(sizes), *sizes, **more)
    path.write_bytes(written)
    assert_equal(path, feeds)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_a_layer_of_any_size(tmp_path, seed):
    rng = np.random.default_rng(seed)
    sizes = [int(rng.integers(1, high)) for high in (10, 30, 80, 140)]
    path = tmp_path / "m.tflite"
    written, feeds = single(
        seed, *sizes, time_major=bool(rng.integers(2)), exponent=int(rng.integers(-15, -8)),
        clip=float(rng.choice([0, 0.3, 2, 10])), apart=bool(rng.integers(2)),
    )  # fmt: skip
    path.write_bytes(written)
    assert_equal(path, feeds, distinct=1)


def test_both_directions(tmp_path):
    """As TensorFlow's converter writes them: two layers, one between two reversals."""
    rng = np.random.default_rng(3)
    shape, units = (2, 8, 6), 12
    x = tensor(rng, "x", shape)
    forward = state_of(rng, "forward", (2, 8, units))
    back, turned = replace(forward, name="back"), replace(forward, name="turned")
    mirrored, joined = replace(x, name="mirrored"), replace(forward, name="y", shape=(2, 8, 24))
    one, first = layer(rng, "f", x, forward)
    two, second = layer(rng, "b", mirrored, back, apart=True)
    axis = constant("axis", np.array([1], "int32"))
    ops = [
        first,
        Op("REVERSE_V2", ["x", "axis"], ["mirrored"], "ReverseV2Options"),
        second,
        Op("REVERSE_V2", ["back", "axis"], ["turned"], "ReverseV2Options"),
        Op("CONCATENATION", ["forward", "turned"], ["y"], "ConcatenationOptions", {"Axis": 2}),
    ]
    every = [x, forward, back, turned, mirrored, joined, *one, *two, axis]
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph(every, ops, ["x"], ["y"])))
    assert_equal(path, {"x": rng.integers(-128, 128, shape).astype("int8")})


def test_what_other_tools_run_is_near(tmp_path):
    """The body of the function, in real numbers."""
    path = tmp_path / "m.tflite"
    written, feeds = single(4, 2, 6, 8, 9)
    path.write_bytes(written)
    (given,), (wanted,) = converted(path, feeds), litert(path, feeds)
    assert given.shape == wanted.shape
    assert given.dtype == wanted.dtype
    apart = np.abs(given.astype(int) - wanted)
    assert apart.max() <= 3
    assert (apart == 0).mean() > 0.5


def test_a_converted_file_is_the_same_network(tmp_path):
    path = tmp_path / "m.tflite"
    written, feeds = single(5, 1, 6, 8, 9)
    path.write_bytes(written)
    again = tmp_path / "m.onnx"
    again.write_bytes(tvmcomp.convert(path).SerializeToString())
    with tvmcomp.load(tvmcomp.build(again)) as session:
        np.testing.assert_array_equal(session.run(feeds)["y"], litert(path, feeds)[0])


def test_a_scale_of_the_cell_that_is_no_power_of_two(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(single(6, 1, 3, 4, 5, exponent=-10.5)[0])
    with pytest.raises(ModelError, match=r"'y'.*LSTM.*no power of two"):
        tvmcomp.convert(path)
    path.write_bytes(single(6, 1, 3, 4, 5, exponent=-8)[0])
    with pytest.raises(ModelError, match=r"QuantizedLSTM.*scale of its cell"):
        tvmcomp.build(path)
