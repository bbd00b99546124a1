"""A board that freezes, at any moment: connections stay open, nothing answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from served import Served
from waiting import joined

from tvmcomp import targets
from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote import device
from tvmcomp.runtime.remote.device import connect
from tvmcomp.tuning.jobs import Build, Built, Failed, Measure, Measured
from tvmcomp.tuning.log.record import Argument
from tvmcomp.tuning.pool import WorkerPool
from tvmcomp.tvm_import import tvm

#: Moments of a session at which the board freezes.
MOMENTS = 24


@contextmanager
def frozen(server: Served) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


def test_what_a_session_holds_is_freed_in_its_time(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TVM waits for the board to free a tensor, with the interpreter's lock."""
    monkeypatch.setattr(device, "_GRACE_SECONDS", 0.5)
    begin = time.monotonic()
    with connect(server.address, timeout=1) as board:
        cpu = board.tvm_device(targets.load("native"))
        tensor = board.call("allocating", tvm.runtime.empty, (4,), "float32", cpu)
        with frozen(server):
            del tensor
            with pytest.raises(DeviceError, match="did not finish asking in the 1 s"):
                board.call("asking", cpu._rpc_sess.get_function, "runtime.NumThreads")
    assert time.monotonic() - begin < 20


def test_a_session_that_ends_leaves_no_process(server: Served) -> None:
    with connect(server.address) as board:
        limit = board._connection._limit
        assert limit is not None and limit._process is not None
        process = psutil.Process(limit._process.pid)
        assert process.is_running()
    assert not process.is_running()


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1) as running:
        yield running


@pytest.fixture(scope="module")
def job(pool: WorkerPool, server: Served, tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """Measures a kernel on the server in a session of at most 2 s."""
    from tvm import te

    x = te.placeholder((64, 64), name="x")
    func = te.create_prim_func([x, te.compute((64, 64), lambda i, j: x[i, j] * 2.0, name="y")])
    native = targets.load("native")
    path = str(tmp_path_factory.mktemp("kernel") / "kernel.so")
    module = str(tvm.ir.save_json(tvm.s_tir.Schedule(func).mod))
    arguments = (Argument("float32", (64, 64)),) * 2
    ((_, built),) = pool.run([Build(module, native, None, path, arguments=arguments)], 300.0)
    assert isinstance(built, Built)
    return Measure((path, path), arguments, native, server.address, 2.0)


def test_a_worker_that_hangs_names_its_board(
    pool: WorkerPool, job: Measure, server: Served
) -> None:
    with frozen(server):
        ((_, reply),) = pool.run([job], 3.0)
    assert isinstance(reply, Failed) and reply.kind == "timeout"
    assert f"killed after 3 s on device {server.address}" in reply.message


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_measurement_names_the_board_that_froze(
    pool: WorkerPool, job: Measure, server: Served, moment: int
) -> None:
    begin = time.monotonic()
    ((_, reply),) = pool.run([job], 60.0)
    assert isinstance(reply, Measured)
    took = time.monotonic() - begin
    freezing = threading.Timer(took * moment / MOMENTS, server.freeze)
    freezing.start()
    try:
        ((_, reply),) = pool.run([job], 64.0)
    finally:
        joined(freezing)
        server.thaw()
    # It may have had all times before: those hold.
    if not isinstance(reply, Measured):
        assert isinstance(reply, Failed)
        assert reply.kind == "device" and server.address in reply.message
