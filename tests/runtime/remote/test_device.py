"""A server on loopback stands for the board: run there, and have everything go wrong."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from served import Served
from small_artifacts import (
    ARM,
    HERE,
    X86,
    dense_artifact,
    dense_reference,
    dense_weights,
    one_kernel_artifact,
)
from waiting import ended, joined, line_of

from tvmcomp.artifact.reference import compare
from tvmcomp.errors import ArtifactError, ConfigError, DeviceError, InputError
from tvmcomp.runtime.bench import benchmark
from tvmcomp.runtime.profile import profile
from tvmcomp.runtime.remote import device
from tvmcomp.runtime.remote.device import connect
from tvmcomp.runtime.remote.device_errors import KILLED_BY, call_error
from tvmcomp.runtime.session import load_on

ONE = {"x": np.ones(1, "float32")}


@pytest.fixture(params=["tvmcomp devices serve", "TVM's own server"])
def either_server(request: pytest.FixtureRequest, server: Served, stock_server: Served) -> Served:
    return server if request.param.startswith("tvmcomp") else stock_server


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def session_folders() -> set[Path]:
    return set(Path("/tmp").glob("tvmcomp-session-*"))


def test_runs_and_is_measured_there(either_server: Served) -> None:
    with connect(either_server.address) as board, load_on(board, dense_artifact()) as session:
        reference = session.artifact.reference
        assert reference is not None
        assert all(a.agrees for a in compare(session.run(reference.inputs), reference, "none"))
        for seed in range(3):  # each run sees its own inputs
            x = np.random.default_rng(seed).standard_normal((1, 8)).astype("float32")
            wanted = dense_reference(x, dense_weights())
            np.testing.assert_allclose(session.run({"x": x})["y"], wanted["y"], atol=1e-5)
        result = benchmark(session, 20)
        assert result.machine == either_server.address
        assert result.runs == 20
        # The round trip of an empty call takes tens of µs; three tiny kernels take a few.
        round_trip = min(_seconds(lambda: board.function("runtime.NumThreads")) for _ in range(20))
        assert result.min_ms < 1e3 * round_trip
    wait_for(lambda: not either_server.sessions())


def _seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def test_threads_memory_and_profile_of_our_server(server: Served) -> None:
    with connect(server.address) as board, load_on(board, dense_artifact(), threads=1) as session:
        assert session.threads == 1
        assert int(board.function("runtime.NumThreads")()) == 1  # type: ignore[misc]
        peak = benchmark(session, 10).peak_memory_mib
        assert peak is not None and peak > 10
        assert "matmul" in {kernel.name for kernel in profile(session, 2)}
        with pytest.raises(ConfigError, match="at least 1"):
            board.set_threads(0)


def test_tvms_own_server_profiles_and_tells_no_memory(stock_server: Served) -> None:
    with connect(stock_server.address) as board, load_on(board, dense_artifact()) as session:
        assert benchmark(session, 10).peak_memory_mib is None
        assert "matmul" in {kernel.name for kernel in profile(session, 2)}


def test_wrong_inputs_end_no_session(server: Served) -> None:
    with connect(server.address) as board, load_on(board, dense_artifact()) as session:
        with pytest.raises(InputError, match="'x' is missing"):
            session.run({})
        session.run(dense_artifact().reference.inputs)  # type: ignore[union-attr]


def test_leaves_no_file_and_no_process(server: Served) -> None:
    before = session_folders()
    with connect(server.address) as board, load_on(board, dense_artifact()) as session:
        (folder,) = session_folders() - before
        assert list(folder.iterdir()) == []  # the library is gone as soon as it is loaded
        assert len(server.sessions()) == 1
        session.run(dense_artifact().reference.inputs)  # type: ignore[union-attr]
    wait_for(lambda: not server.sessions() and not session_folders() - before)


def test_an_artifact_for_another_architecture(either_server: Served) -> None:
    other = X86 if HERE is ARM else ARM
    with (
        connect(either_server.address) as board,
        pytest.raises(ArtifactError, match=f"{other.triple}.*can't run on the device") as caught,
    ):
        load_on(board, dense_artifact(other))
    assert either_server.address in str(caught.value)


def test_a_library_that_the_board_can_not_load(
    either_server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device.Device, "check_target", lambda *_: None)
    other = X86 if HERE is ARM else ARM
    with (
        connect(either_server.address) as board,
        pytest.raises(DeviceError, match="can't load the library"),
    ):
        load_on(board, dense_artifact(other))


def test_too_slow(either_server: Served) -> None:
    begin = time.monotonic()
    with connect(either_server.address, timeout=1.5) as board:
        session = load_on(board, one_kernel_artifact("endless"))
        with pytest.raises(DeviceError, match=r"did not finish running in the 1\.5 s") as caught:
            session.run(ONE)
        with pytest.raises(DeviceError, match="session has ended"):
            session.run(ONE)
    assert "--timeout" in str(caught.value)
    assert time.monotonic() - begin < 8
    wait_for(lambda: not either_server.sessions())


def test_too_slow_and_the_server_does_not_say_so(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own limit: the server is frozen, as when a cable is pulled."""
    monkeypatch.setattr(device, "_GRACE_SECONDS", 0.5)
    with connect(server.address, timeout=1) as board:
        session = load_on(board, dense_artifact())
        (process,) = server.sessions()
        process.suspend()
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(DeviceError, match="did not finish"):
                session.run(dense_artifact().reference.inputs)  # type: ignore[union-attr]
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
            process.resume()
    wait_for(lambda: not server.sessions())


def test_busy(either_server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_CONNECT_SECONDS", 1.0)
    with connect(either_server.address) as board:
        load_on(board, dense_artifact())
        with pytest.raises(DeviceError, match="busy with another session"):
            connect(either_server.address)
    wait_for(lambda: not either_server.sessions())
    monkeypatch.undo()
    with connect(either_server.address) as board:  # and is free again
        load_on(board, dense_artifact())


def test_gone_in_the_middle_of_a_run(either_server: Served) -> None:
    with connect(either_server.address, timeout=60) as board:
        session = load_on(board, one_kernel_artifact("endless"))
        (process,) = either_server.sessions()
        # SIGTERM leaves TVM's own server deaf; its listener sees a connection that is reset.
        cut = threading.Timer(0.5, lambda: board._connection._socket.shutdown(socket.SHUT_RDWR))
        cut.start()
        with pytest.raises(DeviceError, match="is gone: the connection broke while running"):
            session.run(ONE)
    if either_server.sessions():
        # Ours ends the session of a client that is gone; TVM's computes until it would answer.
        if "tvmcomp" in either_server.process.args[2]:  # type: ignore[index]
            wait_for(lambda: not either_server.sessions())
        else:
            process.kill()


def test_a_crash_is_told_and_survived(server: Served) -> None:
    for _ in range(2):
        with connect(server.address) as board:
            session = load_on(board, one_kernel_artifact("abort"))
            with pytest.raises(DeviceError, match="killed by SIGABRT while running"):
                session.run(ONE)


def test_illegal_instruction_is_explained() -> None:
    text = f"RPCError: {KILLED_BY}SIGILL"
    assert "instructions that its CPU lacks" in str(call_error("board", "running", text, 60))


def test_not_answering() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(DeviceError, match="does not answer: Connection refused") as caught:
        connect(f"127.0.0.1:{port}")
    assert "tvmcomp devices serve" in str(caught.value)
    with pytest.raises(DeviceError, match="does not answer"):
        connect("no-such-host.invalid:9090")


def test_something_else_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            with suppress(OSError):  # until the listener is closed
                while True:
                    connection, _peer = listener.accept()
                    with connection, suppress(OSError):
                        connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n" * 4)
                        connection.shutdown(socket.SHUT_WR)
                        # Closing with something unread would reset the connection, and take back
                        # what was sent.
                        while connection.recv(4096):
                            pass

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(DeviceError, match="something else than a TVM RPC server"):
            connect(f"127.0.0.1:{listener.getsockname()[1]}")


@pytest.mark.parametrize("text", ["", "board", "board:", ":9090", "board:0", "b:70000", "b:1/"])
def test_malformed_addresses(text: str) -> None:
    with pytest.raises(ConfigError, match="neither HOST:PORT nor TRACKER:PORT/KEY"):
        connect(text)


def test_strangers_do_not_stop_the_server(server: Served) -> None:
    host, _, port = server.address.rpartition(":")
    magic = struct.pack("<i", 0xFF271)
    for words in (b"", b"GET / HTTP/1.1\r\n\r\n", magic + struct.pack("<i", -5),
                  magic + struct.pack("<i", 2) + b"\xff\xfe"):  # fmt: skip
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(words)
    with connect(server.address) as board:
        load_on(board, dense_artifact())


def test_the_session_of_a_client_that_dies_is_ended(server: Served, tmp_path: Path) -> None:
    one_kernel_artifact("endless").save(tmp_path / "endless.tvmc")
    code = f"""
import numpy as np
from tvmcomp.runtime.remote.device import connect
from tvmcomp.runtime.remote.device_errors import KILLED_BY, call_error
from tvmcomp.runtime.session import load_on
session = load_on(connect({server.address!r}), {str(tmp_path / "endless.tvmc")!r})
print("running", flush=True)
session.run({{"x": np.ones(1, "float32")}})
"""
    client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert line_of(client.stdout) == "running\n"
    time.sleep(0.3)
    assert len(server.sessions()) == 1
    client.kill()
    ended(client)
    wait_for(lambda: not server.sessions())


def test_a_server_that_is_ended_ends_its_session(start: Callable[..., Served]) -> None:
    before = session_folders()
    server = start("serve")
    with connect(server.address, timeout=30) as board:
        session = load_on(board, one_kernel_artifact("endless"))
        (process,) = server.sessions()
        ending = threading.Timer(0.3, server.end)
        ending.start()
        with pytest.raises(DeviceError, match=r"is gone|killed by SIGTERM"):
            session.run(ONE)
        joined(ending)
    wait_for(lambda: not process.is_running() and not session_folders() - before)
