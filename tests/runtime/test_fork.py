"""Sessions before and after a fork; each case in a process of its own, with a limit in time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_artifacts import parallel_artifact

from tvmcomp.runtime.threads import logical_cpus

pytestmark = pytest.mark.skipif(logical_cpus() < 2, reason="one CPU")
#: Workers look for work for some ms and then sleep; a fork may come at any time.
PAUSES = (0.0, 0.2)
BEGIN = """
import multiprocessing, os, signal, sys, threading, time
import numpy as np, tvmcomp
path, pause = sys.argv[1], float(sys.argv[2])
x = np.arange(8, dtype="float32")
def right(session):
    return bool((session.run({"x": x})["y"] == x * 1_000_000).all())
def wait(child):
    status = os.waitpid(child, 0)[1]
    assert status == 0, status
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "parallel.tvmc"
    parallel_artifact().save(path)
    return path


def run(code: str, path: Path, pause: float) -> None:
    command = [sys.executable, "-W", "ignore", "-c", BEGIN + code, str(path), str(pause)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pause", PAUSES)
@pytest.mark.parametrize("parent", [1, 2])
def test_the_child_runs_the_parents_sessions_and_its_own(
    path: Path, parent: int, pause: float
) -> None:
    code = f"""
session = tvmcomp.load(path, threads={parent})
assert right(session)
time.sleep(pause)
for _ in range(2):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        assert right(session)
        for threads in (1, 2, 1, 2):
            with tvmcomp.load(path, threads=threads) as own:
                assert right(own)
        # That of the parent's session has started anew, those of closed sessions have ended.
        assert len(os.listdir("/proc/self/task")) == {parent}
        grandchild = os.fork()
        if grandchild == 0:
            signal.alarm(30)
            assert right(session) and right(tvmcomp.load(path, threads=2))
            sys.exit(0)
        wait(grandchild)
        sys.exit(0)
    wait(child)
    assert right(session)
"""
    run(code, path, pause)


@pytest.mark.parametrize("pause", PAUSES)
def test_a_child_that_runs_nothing_ends(path: Path, pause: float) -> None:
    code = """
session = tvmcomp.load(path, threads=2)
assert right(session)
time.sleep(pause)
child = os.fork()
if child == 0:
    signal.alarm(30)
    sys.exit(0)
wait(child)
"""
    run(code, path, pause)


def test_a_pool_of_processes(path: Path) -> None:
    code = """
session = tvmcomp.load(path, threads=2)
assert right(session)
def work(threads):
    signal.alarm(30)
    return right(session) and right(tvmcomp.load(path, threads=threads))
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(work, [1, 2, 2]))
"""
    run(code, path, 0)


def test_a_fork_while_other_threads_run(path: Path) -> None:
    code = """
sessions = [tvmcomp.load(path, threads=2) for _ in range(2)]
stop = threading.Event()
def work(session):
    while not stop.is_set():
        assert right(session)
workers = [threading.Thread(target=work, args=(session,)) for session in sessions]
for worker in workers:
    worker.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        assert all(map(right, sessions))
        os._exit(0)
    wait(child)
stop.set()
for worker in workers:
    worker.join()
"""
    run(code, path, 0)


def test_kernels_of_tvms_own_pool_run_in_the_child(path: Path) -> None:
    """A build runs networks in TVM's virtual machine; its pool has lost its workers."""
    code = """
import tvmcomp.api
from tvmcomp.tvm_import import tvm
from tvm import te
a = te.placeholder((8,), name="a")
b = te.compute((8,), lambda i: a[i] * 2, "b")
schedule = tvm.s_tir.Schedule(te.create_prim_func([a, b]))
schedule.parallel(*schedule.get_loops(schedule.get_sblock("b")))
kernel = tvm.compile(schedule.mod, target="llvm")["main"]
def twice():
    y = tvm.runtime.empty((8,), "float32")
    kernel(tvm.runtime.tensor(x), y)
    return bool((y.numpy() == 2 * x).all())
assert twice()
time.sleep(pause)
child = os.fork()
if child == 0:
    signal.alarm(30)
    assert twice()  # in one thread
    from tvmcomp.runtime.threads import Threads
    from tvmcomp.runtime.tvm_threads import use_threads
    use_threads(Threads(2))
    assert twice()
    sys.exit(0)
wait(child)
"""
    run(code, path, 0.2)
