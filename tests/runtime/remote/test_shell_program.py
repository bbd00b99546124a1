"""A network's program over a shell, by a stand-in for adb: right answers, and strange ones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from adb_stand_in import SERIAL, write_adb
from networks import images, onnxruntime_outputs, tiny
from small_artifacts import (
    ARM,
    HERE,
    dense_artifact,
    dense_reference,
    dense_weights,
    one_kernel_artifact,
    parallel_artifact,
    parallel_reference,
)

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ArtifactError, ConfigError, DeviceError, InputError
from tvmcomp.export.served import link_program
from tvmcomp.runtime.profile import profile
from tvmcomp.runtime.remote.shell.board import open_board
from tvmcomp.runtime.remote.shell.device import ShellDevice

ADDRESS = f"adb://{SERIAL}"
X = np.random.default_rng(3).standard_normal((1, 8)).astype("float32")
WANTED = dense_reference(X, dense_weights())


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for sessions of a device that adb knows; empty at the end."""
    write_adb(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    folder = tmp_path / "there"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert not list(folder.iterdir())


def test_it_is_a_session_as_any_other(there: Path) -> None:
    with (
        tvmcomp.connect(ADDRESS) as device,
        tvmcomp.load(dense_artifact(), 2, device=device) as session,
    ):
        for _ in range(3):
            outputs = session.run({"x": X})
            np.testing.assert_allclose(outputs["y"], WANTED["y"], atol=1e-5)
        outputs["y"][0, 0] = 7  # it is the caller's
        assert len(session.time(20)) == 20
        assert tvmcomp.bench(session, 10).peak_memory_mib > 0
        kernels = profile(session)
        assert kernels and all(kernel.calls >= 1 for kernel in kernels)
        with pytest.raises(InputError, match="shape"):
            session.run({"x": X[0]})
        np.testing.assert_allclose(session.run({"x": X})["z"], WANTED["z"], atol=1e-5)


def test_two_sessions_at_once_on_chosen_cores(there: Path) -> None:
    x = np.arange(8, dtype="float32")
    core = min(os.sched_getaffinity(0))
    with (
        tvmcomp.connect(ADDRESS) as device,
        tvmcomp.load(parallel_artifact(), pin=[core], device=device) as one,
        tvmcomp.load(dense_artifact(), 3, device=device) as other,
    ):
        assert (one.threads, one.cores, other.threads, other.cores) == (1, (core,), 3, None)
        np.testing.assert_array_equal(one.run({"x": x})["y"], parallel_reference(x))
        np.testing.assert_allclose(other.run({"x": X})["y"], WANTED["y"], atol=1e-5)
        other.close()
        np.testing.assert_array_equal(one.run({"x": x})["y"], parallel_reference(x))
        for threads, pin in ((0, False), (2, [0]), (None, True)):
            with pytest.raises(ConfigError):
                tvmcomp.load(dense_artifact(), threads, pin, device=device)
        with pytest.raises(DeviceError, match="out of range"):
            tvmcomp.load(dense_artifact(), pin=[4095], device=device)


def test_several_shapes(there: Path, tmp_path: Path) -> None:
    path = tiny(tmp_path / "tiny.onnx", "batch")
    made = tvmcomp.build(path, shapes={"x": [(1, 3, 8, 8), (3, 3, 8, 8)]}, log="none")
    with tvmcomp.connect(ADDRESS) as device, tvmcomp.load(made, 1, device=device) as session:
        for batch in (1, 3, 1):
            x = images(batch, 3, 8, 8)
            for name, wanted in onnxruntime_outputs(path, {"x": x}).items():
                np.testing.assert_allclose(session.run({"x": x})[name], wanted, atol=1e-5)
            assert len(session.time(2)) == 2
        with pytest.raises(InputError, match="not built for the shape"):
            session.run({"x": images(2, 3, 8, 8)})


def test_a_kernel_that_never_ends(there: Path) -> None:
    board = open_board(ADDRESS, 60.0)
    with (
        ShellDevice(board, link_program) as device,
        tvmcomp.load(one_kernel_artifact("endless"), device=device) as session,
    ):
        board.deadline = time.monotonic() + 1
        with pytest.raises(DeviceError, match="did not finish running in the 60 s"):
            session.run({"x": np.zeros(1, "float32")})


def test_a_kernel_that_crashes(there: Path) -> None:
    with (
        tvmcomp.connect(ADDRESS) as device,
        tvmcomp.load(one_kernel_artifact("abort"), device=device) as session,
        pytest.raises(DeviceError, match="killed by SIGABRT while running"),
    ):
        session.run({"x": np.zeros(1, "float32")})


def test_another_architecture(there: Path) -> None:
    other = dense_artifact(ARM)
    with tvmcomp.connect(ADDRESS) as device:
        if HERE != ARM:
            with pytest.raises(ArtifactError, match="needs the architecture aarch64") as raised:
                tvmcomp.load(other, device=device)
            assert "--runner" in str(raised.value)


def test_a_device_that_adb_does_not_know(there: Path) -> None:
    with pytest.raises(DeviceError, match="does not answer: adb: device 'mine' not found"):
        tvmcomp.connect("adb://mine")
    with pytest.raises(ConfigError, match="boards with a shell"):
        tvmcomp.connect("127.0.0.1:9090", runner="qemu-arm-static")


GOOD = "ok 0"
ANSWERS = [
    (["hello"], "strange"),
    ([GOOD, "ok 1"], "strange"),
    ([GOOD, GOOD, "ok 99999999999999"], "strange"),
    ([GOOD, GOOD, "ok 31"], "strange"),
    ([GOOD, GOOD, "ok 32", "short"], "ended"),
    ([GOOD, "error there is not enough memory"], "failed while .*: there is not enough memory"),
    ([GOOD, "ok -1"], "strange"),
    ([], "ended"),
]


@pytest.mark.parametrize(("lines", "said"), ANSWERS)
def test_strange_answers(there: Path, tmp_path: Path, lines: list[str], said: str) -> None:
    said = {"strange": "answered what its program", "ended": "failed while"}.get(said, said)
    with (
        scripted(tmp_path, "\n".join(f"echo '{line}'" for line in lines)) as device,
        pytest.raises(DeviceError, match=said),
    ):
        tvmcomp.load(dense_artifact(), 1, device=device).run({"x": X})


def scripted(folder: Path, text: str) -> ShellDevice:
    """A device on which every artifact's program is a script."""

    def link(artifact: Artifact, _: Path) -> Path:
        path = folder / "script"
        path.write_text(f"#!/bin/sh\n{text}\n")
        return path

    return ShellDevice(open_board(ADDRESS, 60.0), link)


@pytest.mark.parametrize(
    ("request_of", "answer"),
    [
        (lambda session: session.time(2), "printf 'ok 16\\n'; printf '\\377%.0s' 1 2 3 4 5 6 7 8 "
         "9 10 11 12 13 14 15 16"),
        (lambda session: session.profile(1), "printf 'ok 2\\na\\000ok 17\\n'; printf "
         "'12345678901234567'"),
        (lambda session: session.profile(1), "printf 'ok 2\\na\\000ok 16\\n'; printf "
         "'\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000'"),
        (lambda session: session.profile(1), "echo 'ok 99999999'"),
    ],
)  # fmt: skip
def test_strange_figures(
    there: Path, tmp_path: Path, request_of: Callable[..., object], answer: str
) -> None:
    with scripted(tmp_path, f"echo 'ok 0'; echo 'ok 0'; {answer}") as device:
        session = tvmcomp.load(dense_artifact(), 1, device=device)
        session.set_inputs({"x": X})
        with pytest.raises(DeviceError, match="answered what its program"):
            request_of(session)
