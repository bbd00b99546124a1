"""A session before its inputs, after its end, and with a signature that is not the network's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from small_artifacts import dense_artifact, one_kernel_artifact, parallel_artifact

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ArtifactError, ConfigError, DeviceError, InputError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.runtime.arrays import read_npz, write_npz
from tvmcomp.runtime.session import Session, load

INPUTS = {"x": np.ones((1, 8), "float32")}


@pytest.mark.parametrize(
    "use",
    [
        lambda session: session.run(INPUTS),
        lambda session: session.set_inputs(INPUTS),
        lambda session: session.time(1),
        lambda session: session.profile(1),
    ],
)
def test_a_closed_session_says_so(use: Callable[[Session], object]) -> None:
    session = load(dense_artifact(), threads=1)
    session.run(INPUTS)
    session.close()
    session.close()
    with pytest.raises(DeviceError, match="the session is closed"):
        use(session)
    assert (session.threads, session.cores) == (1, None)
    assert session.signature.inputs[0].name == "x"


def test_outputs_outlive_their_session() -> None:
    with load(dense_artifact()) as session:
        outputs = session.run(INPUTS)
        kept = {name: array.copy() for name, array in outputs.items()}
    del session
    load(dense_artifact()).run({"x": -INPUTS["x"]})
    for name, array in kept.items():
        np.testing.assert_array_equal(outputs[name], array)


def test_closing_waits_for_a_run() -> None:
    session = load(parallel_artifact(), threads=1)
    x = {"x": np.ones(8, "float32")}
    wanted = session.run(x)["y"]
    started, ended = threading.Event(), []

    def work() -> None:
        while True:
            started.set()
            try:
                ended.append(bool((session.run(x)["y"] == wanted).all()))
            except DeviceError:
                return

    worker = threading.Thread(target=work)
    worker.start()
    assert started.wait(30)
    session.close()
    worker.join(30)
    assert not worker.is_alive()
    assert all(ended)


def test_timing_needs_inputs_and_runs() -> None:
    session = load(dense_artifact())
    with pytest.raises(InputError, match="no inputs are set"):
        session.time(1)
    with pytest.raises(InputError, match="is missing"):
        session.set_inputs({})
    with pytest.raises(InputError, match="no inputs are set"):
        session.time(1)
    session.set_inputs(INPUTS)
    assert len(session.time(2)) == 2
    for runs in (0, -1):
        with pytest.raises(ConfigError, match="at least 1"):
            session.time(runs)
    with pytest.raises(InputError):
        session.run({"x": np.ones(8, "float32")})
    assert len(session.time(1)) == 1  # the inputs that did fit are still there


def with_outputs(artifact: Artifact, *outputs: TensorSpec) -> Artifact:
    signature = Signature(artifact.metadata.signature.inputs, outputs)
    metadata = msgspec.structs.replace(artifact.metadata, signature=signature)
    return Artifact(metadata, artifact.library, artifact.constants)


Y = TensorSpec("y", (1, 4), "float32")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ((Y,), "has 2 outputs, its signature lists 1"),
        ((Y, TensorSpec("z", (4,), "float32")), r"has 'z' as float32\[1, 4\].*float32\[4\]"),
        ((Y, TensorSpec("z", (1, 4), "int32")), r"has 'z' as float32\[1, 4\].*int32\[1, 4\]"),
        ((Y, TensorSpec("z", (2, 4), "float32")), r"signature says float32\[2, 4\]"),
        ((Y, TensorSpec("z", (1, 4), "bfloat16")), "signature says bfloat16"),
    ],
)
def test_a_signature_that_is_not_the_networks(
    outputs: tuple[TensorSpec, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        load(with_outputs(dense_artifact(), *outputs))


def test_one_output_that_is_not_as_the_signature_says() -> None:
    with pytest.raises(ArtifactError, match="has 'y'"):
        load(with_outputs(one_kernel_artifact("double"), TensorSpec("y", (), "float32")))


def test_an_input_that_is_not_as_the_signature_says() -> None:
    made = one_kernel_artifact("double")
    wrong = Signature((TensorSpec("x", (2,), "float32"),), made.metadata.signature.outputs)
    with pytest.raises(ArtifactError, match="has 'x'"):
        load(Artifact(msgspec.structs.replace(made.metadata, signature=wrong), made.library, ()))


def test_other_weights_than_the_library_takes() -> None:
    made = dense_artifact()
    for constants in (made.constants[:1], (*made.constants[:1], np.ones(5, "float32"))):
        with pytest.raises(ArtifactError, match="other weights"):
            load(Artifact(made.metadata, made.library, constants))


def test_written_outputs_have_the_permissions_of_any_file(tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    arrays = {"file": np.ones(2), "allow_pickle": np.zeros(3), "a/b": np.array(1)}
    write_npz(path, arrays)
    (tmp_path / "any").touch()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode
    assert {name: array.tolist() for name, array in read_npz(path).items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


@pytest.mark.parametrize("name", ["a\0b", "n" * 70_000, "\ud800"])
def test_a_name_that_an_npz_can_not_hold(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be written"):
        write_npz(tmp_path / "out.npz", {name: np.ones(2)})
    assert list(tmp_path.iterdir()) == []
