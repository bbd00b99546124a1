import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from waiting import ended, joined, line_of, run

from tvmcomp import targets
from tvmcomp.tuning.jobs import Build, Built, Failed, Measure, Measured
from tvmcomp.tuning.pool import WorkerPool
from tvmcomp.tuning.space import point
from tvmcomp.tuning.task import arguments_of
from tvmcomp.tvm_import import tvm


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(1) as running:
        yield running


@pytest.fixture(scope="module")
def bad_libraries(tmp_path_factory):
    """Shared libraries that crash and that hang when they are loaded."""
    folder = tmp_path_factory.mktemp("libraries")
    paths = {}
    for name, body in {"crash": "__builtin_trap();", "hang": "for (;;) {}"}.items():
        source, paths[name] = folder / f"{name}.c", str(folder / f"{name}.so")
        source.write_text(f"__attribute__((constructor)) void start(void) {{ {body} }}\n")
        zig = [sys.executable, "-m", "ziglang", "cc", "-shared", "-nostdlib"]
        run([*zig, "-o", paths[name], str(source)], capture_output=True)
    return paths


@pytest.fixture
def build(relu, relu_space, native, tmp_path):
    module = str(tvm.ir.save_json(point(relu_space, relu).schedule.mod))
    path = str(tmp_path / "kernel.so")
    return Build(module, native, None, path, arguments=arguments_of(relu))


def replies(pool, jobs, timeout=60.0):
    return dict(pool.run(jobs, timeout))


def test_build_and_measure_in_the_same_process(pool, build, relu, native):
    pids = pool.pids
    assert isinstance(replies(pool, [build])[0], Built)
    job = Measure((build.path, build.path), arguments_of(relu), native, rounds=7)
    measured = replies(pool, [job])[0]
    assert isinstance(measured, Measured)
    one, other = measured.run_secs
    assert len(one) == len(other) and len(one) in (7, 14, 21)
    assert all(0 < t < 0.1 for t in (*one, *other))
    assert pool.pids == pids


def test_an_error_is_said_in_one_line(pool, build, native):
    broken = Build('{"not": "a module"}', native, None, build.path)
    reply = replies(pool, [broken])[0]
    assert isinstance(reply, Failed) and reply.kind == "error"
    assert reply.message and "\n" not in reply.message


def test_a_crash_and_a_hang_cost_one_job_each(pool, build, bad_libraries, native):
    jobs = [
        Measure((bad_libraries["crash"],), (), native),
        build,
        Measure((bad_libraries["hang"],), (), native),
        build,
    ]
    before = set(pool.pids)
    got = replies(pool, jobs, timeout=10.0)
    assert got[0].kind == "crash" and "SIG" in got[0].message
    assert got[2].kind == "timeout" and "10 s" in got[2].message
    assert isinstance(got[1], Built) and isinstance(got[3], Built)
    assert not before & set(pool.pids)
    for pid in before:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_killed_worker_costs_its_job_only(pool, build, bad_libraries, native):
    victim = pool.pids[0]

    def kill():
        time.sleep(2.0)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    got = replies(pool, [Measure((bad_libraries["hang"],), (), native), build])
    joined(killer)
    assert got[0].kind == "crash" and "SIGKILL" in got[0].message
    assert isinstance(got[1], Built)


def test_import_time_is_not_counted(build):
    """A worker that is just being started gets its job's whole time for the job."""
    with WorkerPool(1) as pool:
        pool_start = time.monotonic()
        reply = replies(pool, [build], timeout=30.0)[0]
        assert isinstance(reply, Built)
        assert reply.seconds < time.monotonic() - pool_start


@pytest.mark.slow
@pytest.mark.ci
def test_workers_end_with_their_tuner():
    script = (
        "import sys, time\nfrom tvmcomp.tuning.pool import WorkerPool\n"
        "pool = WorkerPool(1)\nprint(pool.pids[0], flush=True)\ntime.sleep(60)\n"
    )
    tuner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid = int(line_of(tuner.stdout))
    time.sleep(4.0)
    tuner.kill()
    ended(tuner)
    end = time.monotonic() + 30
    process = Path(f"/proc/{pid}")
    while process.exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not process.exists()


def test_torch_is_never_imported(tmp_path):
    package = tmp_path / "torch"
    package.mkdir()
    mark = tmp_path / "imported"
    (package / "__init__.py").write_text(f"open({str(mark)!r}, 'w')\n")
    with WorkerPool(1, {"PYTHONPATH": str(tmp_path)}) as pool:
        replies(pool, [Build("", targets.load("native"), None, "")])
    assert not mark.exists()
