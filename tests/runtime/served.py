"""A server on loopback in a process of its own, as on a board."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
from waiting import LIMIT


class Served:
    """A running `tvmcomp devices …` or TVM's own server, its address and its processes."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)
        pattern = re.compile(r" on (\S+:\d+)")
        deadline = time.monotonic() + LIMIT
        while not (found := pattern.search(log.read_text())):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"it does not listen: {log.read_text()}"
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        self.address = found[1]

    def sessions(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if _is_running(child)]

    def freeze(self) -> None:
        """Stop all its processes: connections stay open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)  # it begins no session any more
        for session in self.sessions():
            session.suspend()

    def thaw(self) -> None:
        """Let them go on."""
        for session in self.sessions():
            session.resume()
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended since it was listed
        return False
