"""Waits with limits: what would wait for ever fails instead, and says for what.

The limits are for a machine that is busy with other things: nothing that is right comes near them.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from typing import IO, Any

#: Seconds for a program that imports TVM and does something small, or for a thread.
LIMIT = 300.0


def run(command: list[Any], **options: Any) -> subprocess.CompletedProcess[Any]:
    """``subprocess.run`` that must succeed, and must end; see there for ``options``."""
    return subprocess.run(command, **{"check": True, "timeout": LIMIT, **options})


def ended(process: subprocess.Popen[Any], seconds: float = LIMIT) -> int:
    """The exit status of ``process`` when it has ended; it is killed where it does not."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
        raise AssertionError(f"{process.args} has not ended in {seconds:g} s") from None


def joined(*threads: threading.Thread, seconds: float = LIMIT) -> None:
    """Wait until all of ``threads`` have ended."""
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), f"{thread.name} has not ended in {seconds:g} s"


def line_of(stream: IO[str] | None, seconds: float = LIMIT) -> str:
    """The next line of a process's output; "" where it has ended without one."""
    assert stream is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    joined(reader, seconds=seconds)
    return lines[0]


def interruptible() -> None:
    """To be run in a new process: Ctrl-C ends it, also where the tests run in the background.

    A shell starts background jobs with SIGINT ignored, and what is ignored is inherited.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
