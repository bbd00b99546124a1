"""Two things at once, the second, which gives bytes, in a child of this process: code generation
holds Python's lock for half of its time, and LLVM's options are one process's.

The child knows all that this process knows, and starts at once. What it can't do, or takes far too
long for (a lock that another thread held when it was forked), is done here.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tvmcomp.runtime.threads import default_threads

#: How long the child is waited for: so many times what the first thing took here, and seconds.
_PATIENCE, _LEAST_SECONDS = 4.0, 10.0
#: The child ends by itself then, whatever became of this process.
_LIMIT_SECONDS = 600
_POLL_SECONDS = 0.005

T = TypeVar("T")
Make = Callable[[], bytes]


def both(first: Callable[[], T], second: Make) -> tuple[T, bytes]:
    """What ``first`` and ``second`` give: on two cores where there are two.

    Raises:
        Exception: what either of them raises.
    """
    child = _Child.of(second) if default_threads() > 1 else None
    begin = time.monotonic()
    try:
        made = first()
    except BaseException:
        if child is not None:
            child.end()
        raise
    patience = _PATIENCE * (time.monotonic() - begin) + _LEAST_SECONDS
    found = child.result(patience) if child is not None else None
    return made, second() if found is None else found


class _Child:
    """A process that writes to memory."""

    def __init__(self, process: int, memory: int) -> None:
        self._process, self._memory = process, memory

    @classmethod
    def of(cls, make: Make) -> _Child | None:
        """One that makes something; None where there is no room for it."""
        memory = os.memfd_create("beside")
        try:
            process = os.fork()
        except OSError:
            os.close(memory)
            return None
        if process:
            return cls(process, memory)
        try:
            for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.alarm(_LIMIT_SECONDS)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what fails is said where it is repeated
            left = memoryview(make())
            while left:
                left = left[os.write(memory, left) :]
            os._exit(0)
        finally:
            os._exit(1)

    def result(self, seconds: float) -> bytes | None:
        """What it made; None where it did not, or not within so many more seconds."""
        end = time.monotonic() + seconds
        while (status := self._ended()) is None and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        if status != 0:
            self.end()
            return None
        with os.fdopen(self._memory, "rb") as file:
            file.seek(0)
            return file.read()

    def end(self) -> None:
        """End it, and forget what it made."""
        if self._process:
            os.kill(self._process, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self._process, 0)
        os.close(self._memory)

    def _ended(self) -> int | None:
        """Its status, where it has ended; a process that waits for all of its children may have
        taken it away."""
        try:
            found, status = os.waitpid(self._process, os.WNOHANG)
        except ChildProcessError:
            found, status = self._process, 1
        if found == 0:
            return None
        self._process = 0
        return status
