"""A network built for several shapes: one set of weights, and a run's inputs say which."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from command_line import message_of, succeeds
from command_line import tvmcomp as command
from served import Served

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ConfigError, InputError, ModelError
from tvmcomp.export.network import network_of
from tvmcomp.export.selftest import program_source
from tvmcomp.runtime.remote.device import connect
from tvmcomp.runtime.session import load_on

MNIST = Path(__file__).parents[2] / "examples" / "mnist"
#: The second has kernels of its own, the third is the first one thrice.
SHAPES = [(2, 1, 28, 28), (1, 1, 28, 28), (6, 1, 28, 28)]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """[N, 1, 28, 28]"""
    found: np.ndarray = np.load(MNIST / "calib.npz")["x"].reshape(-1, 1, 28, 28)
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's network for any batch."""
    proto = onnx.load(MNIST / "model.onnx")
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    path = tmp_path_factory.mktemp("open") / "mnist.onnx"
    onnx.save(proto, path)
    return path


@pytest.fixture(scope="module")
def built(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("built") / "mnist.tvmc"
    tvmcomp.build(model, shapes={"x": SHAPES}, log="none").save(path)
    return path


def wanted(model: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    return found


@pytest.mark.parametrize("threads", [1, 2])
def test_the_session_takes_the_shape_of_the_inputs(
    model: Path, built: Path, images: np.ndarray, threads: int
) -> None:
    with tvmcomp.load(built, threads) as session:
        assert [each.inputs[0].shape for each in session.signatures] == SHAPES
        for batch in (1, 6, 2, 6, 1):
            x = images[:batch]
            outputs = session.run({"x": x})["logits"]
            np.testing.assert_allclose(outputs, wanted(model, x), atol=1e-4)
        session.set_inputs({"x": images[:6]})
        assert len(session.time(3)) == 3
        assert len(session.profile(2)) > 5


def test_a_shape_that_it_was_not_built_for(built: Path, images: np.ndarray) -> None:
    with tvmcomp.load(built) as session:
        session.set_inputs({"x": images[:2]})
        for wrong in ({"x": images[:3]}, {"x": images[0]}):
            with pytest.raises(InputError, match="not built for the shape x") as caught:
                session.run(wrong)
            message = str(caught.value)
            assert all(f"x{list(shape)}" in message for shape in SHAPES)
        with pytest.raises(InputError, match="'y'"):
            session.run({"y": images[:1]})
        with pytest.raises(InputError, match="not a numpy array"):
            session.run({"x": images[:1].tolist()})
        with pytest.raises(InputError, match="float64"):
            session.run({"x": images[:1].astype("float64")})
        assert len(session.time(1)) == 1  # the inputs set before are still there


def test_weights_are_stored_once(model: Path, built: Path) -> None:
    several = Artifact.load(built)
    one = tvmcomp.build(model, shapes={"x": SHAPES[0]}, log="none")
    assert several.constants_nbytes < 1.5 * one.constants_nbytes
    assert any("3 shapes" in note for note in several.metadata.notes)
    assert several.reference is not None
    assert several.reference.inputs["x"].shape == SHAPES[0]


@pytest.mark.slow
def test_in_integers_a_batch_gives_the_bits_that_its_samples_give(
    model: Path, images: np.ndarray
) -> None:
    """On samples that differ in all that was calibrated; by kernels of their own."""
    artifact = tvmcomp.build(
        model,
        quant="int8",
        calibration=[{"x": images[i : i + 2]} for i in range(0, 48, 2)],
        dims={"batch": [2, 5]},
        log="none",
    )
    with tvmcomp.load(artifact) as session:

        def by(batch: int) -> bytes:
            starts = range(0, 200, batch)
            rows = [session.run({"x": images[i : i + batch]})["logits"] for i in starts]
            return np.concatenate(rows).tobytes()

        assert by(5) == by(2)


def test_on_a_board(built: Path, images: np.ndarray, server: Served) -> None:
    with (
        connect(server.address) as board,
        load_on(board, built) as there,
        tvmcomp.load(built, 1) as here,
    ):
        for batch in (6, 1):
            x = {"x": images[:batch]}
            np.testing.assert_allclose(
                there.run(x)["logits"], here.run(x)["logits"], rtol=1e-4, atol=1e-5
            )
        assert len(there.time(2)) == 2 and there.profile(1)
        with pytest.raises(InputError, match="not built for the shape"):
            there.run({"x": images[:4]})


def test_exported_as_a_library(
    model: Path, built: Path, images: np.ndarray, tmp_path: Path
) -> None:
    tvmcomp.export(built, tmp_path / "c", "shared", name="digits")
    header = (tmp_path / "c" / "include" / "digits.h").read_text()
    assert "#define DIGITS_SHAPES 3" in header and "x[6, 1, 28, 28]" in header
    library = ctypes.CDLL(str(tmp_path / "c" / "lib" / "libdigits.so"))
    pointer, context = ctypes.c_void_p, ctypes.c_void_p()
    library.digits_run.argtypes = [pointer] * 3
    library.digits_destroy.argtypes = [pointer]
    library.digits_shape_info.restype = pointer
    assert library.digits_shape_info(3) is None
    assert library.digits_shape_create(-1, None, ctypes.byref(context)) != 0
    for shape, (batch, *_) in enumerate(SHAPES):
        assert library.digits_shape_create(shape, None, ctypes.byref(context)) == 0
        x, y = np.ascontiguousarray(images[:batch]), np.empty((batch, 10), "float32")
        inputs, outputs = (pointer * 1)(x.ctypes.data), (pointer * 1)(y.ctypes.data)
        assert library.digits_run(context, inputs, outputs) == 0
        library.digits_destroy(context)
        np.testing.assert_allclose(y, wanted(model, x), atol=1e-4)


@pytest.mark.parametrize("kept", [True, False])
def test_its_program_takes_a_shape_with_and_without_a_reference(built: Path, kept: bool) -> None:
    artifact = Artifact.load(built)
    reference = artifact.reference if kept else None
    made = Artifact(artifact.metadata, b"", artifact.constants, reference, artifact.packed_code)
    text, data = program_source(network_of(made, "digits"))
    assert ".choose = choose," in text and bool(data) is kept


def test_bench_takes_one_of_them(built: Path) -> None:
    found = succeeds("bench", built, "--repeat", 3, "--shape", "x=6,1,28,28")
    assert found["shapes"] == {"x": [6, 1, 28, 28]}
    assert "x[2, 1, 28, 28]" in command("bench", built, "--repeat", 3).stdout
    refused = message_of(command("bench", built, "--shape", "x=7,1,28,28"))
    assert "not built for the shape x[7, 1, 28, 28]" in refused and "x[6, 1, 28, 28]" in refused


@pytest.mark.parametrize(
    ("bindings", "says"),
    [
        ({"shapes": {"x": [SHAPES[0], SHAPES[0]]}}, "given twice"),
        ({"shapes": {"x": SHAPES}, "dims": {"batch": [1, 2]}}, "not as many of each"),
        ({"shapes": {"x": [SHAPES[0], (1, 2.5)]}}, "whole number"),
        ({"dims": {"batch": [1, 0]}}, "at least 1"),
        ({"shapes": [SHAPES]}, "not a dict"),
    ],
)
def test_shapes_that_do_not_go_together(model: Path, bindings: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        tvmcomp.build(model, log="none", **bindings)


def test_other_commands_take_one_shape(model: Path) -> None:
    with pytest.raises(ConfigError, match="3 shapes, where one is taken"):
        tvmcomp.tune(model, shapes={"x": SHAPES}, log="none")  # type: ignore[dict-item]


def test_a_fixed_batch_has_one_shape() -> None:
    with pytest.raises(ModelError, match="dimension 0 is 1 in the model"):
        tvmcomp.build(MNIST / "model.onnx", shapes={"x": SHAPES}, log="none")
