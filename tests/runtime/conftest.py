"""Servers on loopback, each in a process of its own, as on a board."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from served import Served
from ssh_server import SshServer, ssh_server


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Start `tvmcomp devices …` on a free port; ended with the module's tests."""
    folder = tmp_path_factory.mktemp("servers")
    started: list[Served] = []

    def start_one(*arguments: str) -> Served:
        code = "import sys; from tvmcomp.cli.main import main; sys.argv[0] = 'tvmcomp'; main()"
        command = [sys.executable, "-c", code, "devices", *arguments, "--port", "0"]
        started.append(Served(command, folder / f"{len(started)}.log"))
        return started[-1]

    yield start_one
    for served in started:
        served.end()


@pytest.fixture(scope="module")
def server(start: Callable[..., Served]) -> Served:
    """`tvmcomp devices serve`."""
    return start("serve")


@pytest.fixture(scope="module")
def stock_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """TVM's own server loop, as `python -m tvm.exec.rpc_server` runs it."""
    code = (
        "import os; os.environ['TVM_USE_RUNTIME_LIB'] = '1'\n"
        "from tvm.rpc.server import PopenRPCServerState\n"
        "import threading\n"
        "state = PopenRPCServerState('127.0.0.1', 21090, 21990, silent=True)\n"
        "print(f'serving on 127.0.0.1:{state.port}', flush=True)\n"
        "threading.Event().wait()\n"
    )
    served = Served([sys.executable, "-c", code], tmp_path_factory.mktemp("stock") / "log")
    yield served
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait(10)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """An ssh server."""
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running
