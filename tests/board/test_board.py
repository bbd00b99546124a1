"""The emulated ARM board itself: it runs aarch64 code, has the core it was asked for, and ends."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tvm
from board import Board, BoardError, BoardRoot, Tracker
from tvm import relax
from tvm.rpc import RPCSession
from tvm.script import tirx as T
from waiting import ended, interruptible, line_of, run

BOARD_PY = Path(__file__).with_name("board.py")


def aarch64(core: str, *features: str) -> tvm.target.Target:
    description = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": core, "num-cores": 4}
    return tvm.target.Target({**description, "mattr": ["+neon", *features]})


def link(output: str, objects: list[str], options: list[str] | None = None) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu", "-shared"]
    run([*command, "-o", output, *objects, *(options or [])])


def connect(board: Board) -> RPCSession:
    return tvm.rpc.connect("127.0.0.1", board.port, session_timeout=60)


def upload(
    session: RPCSession, executable: tvm.runtime.Executable, folder: Path
) -> tvm.runtime.Module:
    library = folder / "library.so"
    executable.export_library(str(library), fcompile=link)
    session.upload(str(library))
    return session.load_module(library.name)


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def handshake(address: str, timeout: float) -> None:
    """Greet the server with a key that it refuses, so that no session starts."""
    host, _, port = address.rpartition(":")
    key = b"client:probe"
    with socket.create_connection((host, int(port)), timeout) as connection:
        connection.sendall(struct.pack("<ii", tvm.rpc.base.RPC_MAGIC, len(key)) + key)
        (code,) = struct.unpack("<i", connection.recv(4))
    assert code == tvm.rpc.base.RPC_CODE_MISMATCH


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@T.prim_func(s_tir=True)
def dot_product(
    a: T.Buffer((16,), "int8"), b: T.Buffer((16,), "int8"), c: T.Buffer((4,), "int32")
) -> None:
    T.func_attr({"global_symbol": "dot_product"})
    c[T.ramp(0, 1, 4)] = T.call_llvm_pure_intrin(
        T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.sdot"),
        c[T.ramp(0, 1, 4)],
        a[T.ramp(0, 1, 16)],
        b[T.ramp(0, 1, 16)],
        dtype="int32x4",
    )


def run_dot_product(session: RPCSession, folder: Path) -> None:
    target = aarch64("cortex-a76", "+dotprod")
    executable = tvm.compile(tvm.IRModule({"dot_product": dot_product}), target)
    function = upload(session, executable, folder)["dot_product"]
    random = np.random.default_rng(0)
    a, b = (random.integers(-127, 127, 16).astype("int8") for _ in range(2))
    device = session.cpu()
    result = tvm.runtime.tensor(np.zeros(4, "int32"), device)
    function(tvm.runtime.tensor(a, device), tvm.runtime.tensor(b, device), result)
    expected = (a.astype("int32") * b).reshape(4, 4).sum(axis=1)
    np.testing.assert_array_equal(result.numpy(), expected)


def run_relax_function(session: RPCSession, target: tvm.target.Target, folder: Path) -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((3, 8), "float32"))
    weight = np.random.default_rng(1).standard_normal((8, 5), dtype="float32")
    with builder.function("main", [x]):
        product = builder.emit(relax.op.matmul(x, relax.const(weight)))
        builder.emit_func_output(builder.emit(relax.op.nn.relu(product)))
    module = upload(session, tvm.compile(builder.get(), target), folder)
    machine = relax.VirtualMachine(module, session.cpu())
    inputs = np.random.default_rng(2).standard_normal((3, 8), dtype="float32")
    result = machine["main"](tvm.runtime.tensor(inputs, session.cpu()))
    np.testing.assert_allclose(result.numpy(), np.maximum(inputs @ weight, 0), atol=1e-5)


def test_runs_a_cross_compiled_relax_function(board: Board, tmp_path: Path) -> None:
    run_relax_function(connect(board), aarch64("cortex-a76", "+dotprod"), tmp_path)


def test_has_the_dot_product_instruction(board: Board, tmp_path: Path) -> None:
    run_dot_product(connect(board), tmp_path)


def test_serves_many_sessions(board: Board) -> None:
    for _ in range(10):
        # What MetaSchedule's runner fills its arguments with.
        assert connect(board).get_function("tvm.contrib.random.random_fill_for_measure")


def test_cortex_a72_runs_its_own_code_and_traps_on_a_dot_product(
    board_root: BoardRoot, tmp_path: Path
) -> None:
    with Board(cpu="cortex-a72") as board:
        run_relax_function(connect(board), aarch64("cortex-a72"), tmp_path)
        with pytest.raises(tvm.error.InternalError, match="kShutdown"):
            run_dot_product(connect(board), tmp_path)
        trapped = f"exited unsuccessfully with error code {-signal.SIGILL}"
        wait_until(lambda: trapped in board.log())


def test_three_boards_at_one_tracker(board_root: BoardRoot) -> None:
    with Tracker() as tracker:
        with (
            Board(tracker=tracker.address, key="arm") as first,
            Board(tracker=tracker.address, key="arm") as second,
            Board(tracker=tracker.address, key="other") as third,
        ):
            assert tracker.boards() == {first.port, second.port, third.port}
            host, _, port = tracker.address.rpartition(":")
            client = tvm.rpc.connect_tracker(host, int(port))
            sessions = [client.request(key) for key in ("arm", "arm", "other")]
            assert [session.cpu().exist for session in sessions] == [True] * 3
            second.kill()
            assert tracker.boards() == {first.port, third.port}
        assert tracker.is_alive()


def test_brings_its_own_tracker_and_takes_it_along(board_root: BoardRoot) -> None:
    with Board(tracker=True, key="mine") as board:
        tracker_address = board.tracker_address
        host, _, port = tracker_address.rpartition(":")
        session = tvm.rpc.connect_tracker(host, int(port)).request("mine")
        assert session.cpu().exist
    assert not answers(tracker_address)


def test_leaves_nothing_behind(board_root: BoardRoot) -> None:
    with Board() as board:
        session = connect(board)
        folder = Path(session.get_function("tvm.rpc.server.workpath")(""))
        # The server and the process that it forked for the session, at the least.
        members = board.members()
        assert len(members) >= 2
        assert folder.exists()
    assert board.members() == []
    assert not any(is_running(pid) for pid in members)
    assert not folder.exists()


def test_is_silent_when_frozen_and_comes_back_after_a_kill(board_root: BoardRoot) -> None:
    with Board() as board:
        address = board.address
        board.freeze()
        # The system still accepts connections. TVM's client would wait here for ever.
        with pytest.raises(TimeoutError):
            handshake(address, timeout=1)
        board.thaw()
        handshake(address, timeout=10)
        assert connect(board).cpu().exist
        board.kill()
        assert not board.is_alive()
        assert not answers(address)
        board.start()
        assert board.address == address
        assert connect(board).cpu().exist


def test_says_why_it_did_not_start(board_root: BoardRoot) -> None:
    with pytest.raises(BoardError, match="unable to find CPU model 'pentium'"):
        Board(cpu="pentium").start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_command_line_serves_and_takes_the_board_along(
    board_root: BoardRoot, number: signal.Signals, tmp_path: Path
) -> None:
    # A program that is killed outright can't remove its folder of temporary files.
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(BOARD_PY), "serve"]
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=interruptible
    )
    try:
        line = line_of(program.stdout)
        address = line.split()[2].rstrip(",")
        assert line == f"server on {address}, Ctrl-C stops it\n"
        assert answers(address)
        program.send_signal(number)
        ended(program, 60)
    finally:
        program.kill()
        program.stdout.close()
    wait_until(lambda: not answers(address))
