"""What TVM's loader finds in a network's library, and the program that calls it over RPC."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from served import Served
from small_artifacts import (
    ROWS,
    dense_artifact,
    dense_reference,
    dense_weights,
    parallel_artifact,
    parallel_reference,
)

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote.device import connect
from tvmcomp.runtime.session import load_on

CPU = tvm.cpu(0)


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[[Artifact], Any]:
    """Loads a library in this process as a server does; it stays until the process ends."""

    def load(artifact: Artifact) -> Any:
        path = tmp_path / "lib.so"
        path.write_bytes(artifact.library)
        return tvm.runtime.load_module(str(path))

    return load


def tensor(array: np.ndarray) -> Any:
    return tvm.runtime.tensor(array, CPU)


def empty(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return tvm.runtime.empty(shape, dtype, CPU)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_runs_times_and_profiles(loaded: Callable[[Artifact], Any], threads: int) -> None:
    library = loaded(dense_artifact())
    weights = [tensor(array) for array in dense_weights().values()]  # used where they lie
    context = library["open"](0, threads, 0, *weights)
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((1, 8)).astype("float32")
        y, z, wanted = empty((1, 4)), empty((1, 4)), dense_reference(x, dense_weights())
        library["run"](context, tensor(x), y, z)
        np.testing.assert_allclose(y.numpy(), wanted["y"], atol=1e-5)
        np.testing.assert_allclose(z.numpy(), wanted["z"], atol=1e-5)
    y, z = empty((1, 4)), empty((1, 4))
    seconds = tensor(np.zeros(5))
    library["time"](context, 5, seconds, tensor(x), y, z)
    assert (seconds.numpy() > 0).all()
    np.testing.assert_allclose(y.numpy(), wanted["y"], atol=1e-5)

    size = library["kernels"](0, empty((1,), "uint8"))
    text = tensor(np.full(size + 3, 7, "uint8"))
    assert library["kernels"](0, text) == size
    *names, rest = bytes(text.numpy()).split(b"\0")
    assert rest == b"\7\7\7" and b"matmul" in names
    for room in (1, len(names), 100):
        kernels, seconds = tensor(np.full(room, -1, "int32")), tensor(np.full(room, -1.0))
        made = library["profile"](context, kernels, seconds, tensor(x), y, z)
        assert made == len(names)  # each kernel is called once
        written = min(made, room)
        assert sorted(kernels.numpy()[:written]) == list(range(written))
        assert (seconds.numpy()[:written] >= 0).all()
        assert (kernels.numpy()[written:] == -1).all() and (seconds.numpy()[written:] == -1).all()
    library["close"](context)


def test_wrong_arguments_are_told_and_nothing_is_written(
    loaded: Callable[[Artifact], Any],
) -> None:
    library = loaded(dense_artifact())
    w, b = map(tensor, dense_weights().values())
    x, y, z = tensor(np.ones((1, 8), "float32")), tensor(np.zeros((1, 4), "float32")), empty((1, 4))
    context = library["open"](0, 1, 0, w, b)
    seconds = tensor(np.zeros(2))
    wrong: list[tuple[str, tuple[Any, ...]]] = [
        ("open", ()),
        ("open", (0, 1, 0, w)),
        ("open", (0, 1, 0, b, w)),
        ("open", (0, 1, 0, w, b, b, b)),
        ("open", (0, -1, 0, w, b)),
        ("open", (0, 1, -1, w, b)),
        ("open", (0, 1, 2, 0, w, b)),
        ("open", (0, 1, 1, 1 << 20, w, b)),
        ("open", (0, "one", 0, w, b)),
        ("open", (1, 1, 0, w, b)),
        ("open", (-1, 1, 0, w, b)),
        ("run", (0, x, y, z)),
        ("run", (context, x, y)),
        ("run", (context, x, y, z, z)),
        ("run", (context, y, y, z)),
        ("run", (context, x, 1, z)),
        ("run", (context, x, y, empty((1, 4), "float64"))),
        ("time", (context, 3, seconds, x, y, z)),
        ("time", (context, -1, seconds, x, y, z)),
        ("profile", (context, tensor(np.zeros(2, "int32")), tensor(np.zeros(1)), x, y, z)),
        ("kernels", (0, 1)),
        ("kernels", (1, tensor(np.zeros(9, "uint8")))),
        ("close", ("context",)),
    ]
    for name, arguments in wrong:
        with pytest.raises(RuntimeError, match="missing, misaligned or out of range"):
            library[name](*arguments)
    assert not y.numpy().any() and not seconds.numpy().any()
    library["close"](context)


def test_threads_and_cores_over_rpc(server: Served) -> None:
    x = np.arange(ROWS, dtype="float32")
    allowed = sorted(os.sched_getaffinity(0))
    with connect(server.address) as board:
        for threads, pin in ((1, False), (2, False), (1, allowed[-1:]), (2, allowed[:2])):
            if len(allowed) < threads:
                continue
            session = load_on(board, parallel_artifact(), threads=threads, pin=pin)
            assert session.threads == threads
            np.testing.assert_array_equal(session.run({"x": x})["y"], parallel_reference(x))
            assert len(session.time(3)) == 3
            session.close()


def test_sessions_of_one_device_keep_their_threads(server: Served) -> None:
    x = np.arange(ROWS, dtype="float32")
    core = sorted(os.sched_getaffinity(0))[-1]
    with (
        connect(server.address) as board,
        load_on(board, parallel_artifact(), pin=[core]) as bound,
        load_on(board, parallel_artifact(), threads=2) as free,
    ):
        for session in (bound, free, bound, free):
            np.testing.assert_array_equal(session.run({"x": x})["y"], parallel_reference(x))
        assert (bound.threads, free.threads) == (1, 2)


def test_a_core_that_the_board_has_not(server: Served) -> None:
    with connect(server.address) as board, pytest.raises(DeviceError):
        load_on(board, parallel_artifact(), pin=[1000])
