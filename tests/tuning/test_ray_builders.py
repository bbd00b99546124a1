"""Building on a Ray cluster of two workers on this machine."""

import contextlib
import os
import signal
import threading
import time

import psutil
import pytest
from waiting import joined

from tvmcomp.errors import ToolError
from tvmcomp.tuning.builders import open_builders
from tvmcomp.tuning.jobs import Build, Built, Failed
from tvmcomp.tuning.space import point
from tvmcomp.tvm_import import tvm

ray = pytest.importorskip("ray", reason="the ray extra is not installed")


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def jobs_of(relu, relu_space, native, tmp_path, number):
    module = str(tvm.ir.save_json(point(relu_space, relu).schedule.mod))
    paths = [str(tmp_path / f"{i}.so") for i in range(number)]
    return [Build(module, native, None, path, form="kernels") for path in paths]


def actors():
    """Processes of the actors that build."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end meanwhile
            if "_Builder" in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


def test_a_worker_killed_is_survived(cluster, relu, relu_space, native, tmp_path):
    jobs = jobs_of(relu, relu_space, native, tmp_path, 12)
    broken = Build("no module", native, None, str(tmp_path / "broken.so"))
    killed = []

    def kill():
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            if (tmp_path / "0.so").exists() or (tmp_path / "1.so").exists():
                killed.append(actors()[0])
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.01)

    with open_builders("ray") as builders:
        killer = threading.Thread(target=kill)
        killer.start()
        replies = dict(builders.run([*jobs, broken], timeout=60.0))
        joined(killer)
        assert killed and len(replies) == 13
        assert all(isinstance(replies[i], Built) for i in range(12))
        assert isinstance(replies[12], Failed) and replies[12].kind == "error"
        assert all((tmp_path / f"{i}.so").stat().st_size > 1000 for i in range(12))


def test_a_cluster_that_does_not_answer_is_a_clear_error():
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(ToolError, match="does not answer"):
        open_builders("127.0.0.1:1")
