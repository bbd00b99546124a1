"""One emulated process that serves RPC on loopback: started, waited for, frozen, killed."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from prepare import BoardError, prepare
from process_group import ProcessGroup

HOST = "127.0.0.1"
SERVE_RPC = Path(__file__).with_name("serve_rpc.py")
LISTENING = re.compile(r"^listening on (\S+:(\d+))$", re.MULTILINE)


Service = TypeVar("Service", bound="RpcService")


class RpcService:
    """A context manager around `serve_rpc.py` under emulation."""

    def __init__(self, role: str, cpu: str, port: int | None, timeout: float) -> None:
        self.role = role
        self.cpu = cpu
        self._port = port
        self._timeout = timeout
        self._address = ""
        self._folder: Path | None = None
        self._processes: ProcessGroup | None = None

    @property
    def address(self) -> str:
        """Where it listens, as "127.0.0.1:9090"."""
        return self._address

    def log(self) -> str:
        """What it has printed since it was started."""
        return self._log_file.read_text(errors="replace") if self._folder else ""

    def members(self) -> list[int]:
        """The processes of the service that are alive."""
        return self._processes.members() if self._processes else []

    def is_alive(self) -> bool:
        """Whether the service runs, be it frozen."""
        return self._processes is not None and self._processes.exit_status is None

    def start(self) -> None:
        """Start the service and wait until it listens. After `kill` it takes the same port."""
        root = prepare()
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tvmcomp-board-"))
        self._log_file.unlink(missing_ok=True)
        first, end = (self._port, self._port + 1) if self._port else _port_range()
        command = [str(root.python), str(SERVE_RPC), self.role]
        command += [f"--port={first}", f"--port-end={end}", *self._options()]
        environment = root.environment(self.cpu, self._folder)
        try:
            self._processes = ProcessGroup(command, environment, self._log_file)
            self._wait_for("listen", self._listens)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the service and remove its files. Harmless when repeated."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def kill(self) -> None:
        """Kill every process of the service at once, as if its power were cut."""
        if self._processes is not None:
            self._processes.kill()

    def freeze(self) -> None:
        """Stop every process of the service: connections stay open, nothing answers."""
        if self._processes is not None:
            self._processes.freeze()

    def thaw(self) -> None:
        """Let a frozen service go on."""
        if self._processes is not None:
            self._processes.thaw()

    def __enter__(self: Service) -> Service:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _options(self) -> Sequence[str]:
        """More options for serve_rpc.py."""
        return ()

    @property
    def _log_file(self) -> Path:
        assert self._folder is not None
        return self._folder / "log"

    def _listens(self) -> bool:
        if found := LISTENING.search(self.log()):
            self._address, self._port = found[1], int(found[2])
        return found is not None

    def _wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        assert self._processes is not None
        deadline = time.monotonic() + self._timeout
        while not condition():
            status = self._processes.exit_status
            if status is not None:
                problem = f"ended with exit status {status}"
            elif time.monotonic() > deadline:
                problem = f"did not {what} in {self._timeout:g} s"
            else:
                time.sleep(0.05)
                continue
            last_lines = "\n".join(self.log().splitlines()[-20:])
            raise BoardError(f"the emulated {self.role} ({self.cpu}) {problem}\n{last_lines}")


def _port_range() -> tuple[int, int]:
    """Ports to try. The first is free now; another process may take it before the service does."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        first = probe.getsockname()[1]
    return first, min(first + 50, 65536)
