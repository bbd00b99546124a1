"""Fused recurrent layers against LiteRT's interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from litert import agree, converted, litert
from tflite_models import Graph, Op, Tensor, constant, model

import tvmcomp
from tvmcomp.errors import ModelError

rng = np.random.default_rng(11)
STEPS, BATCH, INPUT, UNITS = 5, 2, 3, 4


def floats(*shape: int) -> np.ndarray:
    return rng.normal(0, 0.7, shape).astype("float32")


def direction(prefix: str, *, coupled: bool, peepholes: bool) -> list[Tensor | None]:
    """The 17 inputs of one direction: matrices, peepholes, biases, projection; None: left out."""
    shapes = [(UNITS, INPUT)] * 4 + [(UNITS, UNITS)] * 4 + [(UNITS,)] * 3 + [(UNITS,)] * 4
    held: list[Tensor | None] = [
        constant(f"{prefix}{i}", floats(*shape)) for i, shape in enumerate(shapes)
    ]
    if not peepholes:
        held[8:11] = [None] * 3
    if coupled:  # no input gate
        held[0] = held[4] = held[8] = held[11] = None
    return [*held, None, None]


def state(name: str) -> Tensor:
    return Tensor(name, (BATCH, UNITS), variable=True)


def shape_of(time_major: bool, size: int) -> tuple[int, int, int]:
    return (STEPS, BATCH, size) if time_major else (BATCH, STEPS, size)


def written(tmp_path, inputs, outputs, kind, options, fields, time_major):
    x = Tensor("x", shape_of(time_major, INPUT))
    given = [x, *inputs]
    tensors = [each for each in given if each is not None] + outputs
    op = Op(kind, [each.name if each else "" for each in given], [y.name for y in outputs],
            options, fields)  # fmt: skip
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph(tensors, [op], ["x"], [y.name for y in outputs])))
    return path, {"x": rng.normal(0, 1, x.shape).astype("float32")}


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("coupled, peepholes", [(False, False), (True, False), (False, True)])
def test_lstm(tmp_path, time_major, coupled, peepholes):
    inputs = [*direction("w", coupled=coupled, peepholes=peepholes), state("h"), state("c")]
    fields = {"FusedActivationFunction": 4, "CellClip": 10.0, "TimeMajor": time_major}
    outputs = [Tensor("y", shape_of(time_major, UNITS))]
    path, feeds = written(tmp_path, inputs, outputs, "UNIDIRECTIONAL_SEQUENCE_LSTM",
                          "UnidirectionalSequenceLSTMOptions", fields, time_major)  # fmt: skip
    agree(converted(path, feeds), litert(path, feeds))


def test_bidirectional_lstm(tmp_path):
    """LiteRT merges the outputs of batches above 1 wrongly, so ours is held to its single ones."""
    sides = [direction(prefix, coupled=False, peepholes=False) for prefix in "fb"]
    states = [state(name) for name in ("fh", "fc", "bh", "bc")]
    inputs = [*sides[0], *sides[1], *states, *[None] * 9]
    results = []
    for sizes in ([UNITS, UNITS], [2 * UNITS]):
        outputs = [Tensor(f"y{i}", (BATCH, STEPS, size)) for i, size in enumerate(sizes)]
        fields = {"FusedActivationFunction": 4, "MergeOutputs": len(sizes) == 1, "TimeMajor": False}
        path, feeds = written(tmp_path, inputs, outputs, "BIDIRECTIONAL_SEQUENCE_LSTM",
                              "BidirectionalSequenceLSTMOptions", fields, False)  # fmt: skip
        feeds = {"x": np.linspace(-1, 1, feeds["x"].size, dtype="f4").reshape(feeds["x"].shape)}
        results.append((converted(path, feeds), litert(path, feeds)))
    (two, wanted), (one, _) = results
    agree(two, wanted)
    agree(one, [np.concatenate(wanted, axis=2)])


@pytest.mark.parametrize("function", [1, 4])
def test_rnn(tmp_path, function):
    inputs = [constant("w", floats(UNITS, INPUT)), constant("r", floats(UNITS, UNITS)),
              constant("b", floats(UNITS)), state("h")]  # fmt: skip
    path, feeds = written(tmp_path, inputs, [Tensor("y", (BATCH, STEPS, UNITS))],
                          "UNIDIRECTIONAL_SEQUENCE_RNN", "SequenceRNNOptions",
                          {"FusedActivationFunction": function}, False)  # fmt: skip
    agree(converted(path, feeds), litert(path, feeds))


def integers(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def test_svdf_is_a_stream(tmp_path):
    """Filters of rank 2 with a memory of 3 frames."""
    inputs = [constant("w", floats(6, INPUT)), constant("t", floats(6, 3)),
              constant("b", floats(3)), Tensor("s", (BATCH, 18), variable=True)]  # fmt: skip
    x = Tensor("x", (BATCH, INPUT))
    frames = [floats(BATCH, INPUT) for _ in range(6)]
    for ours, theirs in streamed(tmp_path, x, inputs, Tensor("y", (BATCH, 3)), frames):
        agree([ours], [theirs])


@pytest.mark.parametrize("seed", range(3))
def test_svdf_in_integers_is_a_stream(tmp_path, seed):
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.003, 0.03, 2).astype(np.float32)
    kept = float(np.float32(scales.prod() * np.sqrt(INPUT) / 2))
    none = np.zeros(1, "int64")
    inputs = [
        constant("w", integers(rng, "int8", 6, INPUT), scale=float(scales[1]), zero=none),
        constant("t", integers(rng, "int16", 6, 3) // 64, scale=0.002, zero=none),
        constant("b", rng.integers(-(2**17), 2**17, 3).astype("int32"), scale=kept * 0.002),
        Tensor("s", (BATCH, 18), "int16", scale=kept, zero=none, variable=True),
    ]
    x = Tensor("x", (BATCH, INPUT), "int8", scale=float(scales[0]), zero=int(rng.integers(-99, 99)))
    step = float(np.float32(kept * 0.002 * 2**17 * rng.uniform(0.2, 1)))
    y = Tensor("y", (BATCH, 3), "int8", scale=step, zero=int(rng.integers(-60, 60)))
    frames = [integers(rng, "int8", BATCH, INPUT) for _ in range(6)]
    ours, theirs = zip(*streamed(tmp_path, x, inputs, y, frames), strict=True)
    assert len(np.unique(theirs)) > 9
    np.testing.assert_array_equal(ours, theirs)


def streamed(tmp_path, x, inputs, y, frames):
    """For each of some frames, the result of an SVDF, and LiteRT's."""
    op = Op("SVDF", ["x", "w", "t", "b", "s"], ["y"], "SVDFOptions",
            {"Rank": 2, "FusedActivationFunction": 1})  # fmt: skip
    path = tmp_path / "m.tflite"
    path.write_bytes(model(Graph([x, *inputs, y], [op], ["x"], ["y"])))
    from litert import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    with tvmcomp.load(tvmcomp.build(path)) as session:
        for frame in frames:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frame)
            interpreter.invoke()
            wanted = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
            yield session.run({"x": frame})["y"], wanted


def test_a_projection_is_refused(tmp_path):
    side = direction("w", coupled=False, peepholes=False)
    side[15] = constant("p", floats(UNITS, UNITS))
    path, _ = written(tmp_path, [*side, state("h"), state("c")],
                      [Tensor("y", (BATCH, STEPS, UNITS))], "UNIDIRECTIONAL_SEQUENCE_LSTM",
                      "UnidirectionalSequenceLSTMOptions",
                      {"FusedActivationFunction": 4}, False)  # fmt: skip
    with pytest.raises(ModelError, match=r"'y'.*UNIDIRECTIONAL_SEQUENCE_LSTM.*projection"):
        tvmcomp.convert(path)
