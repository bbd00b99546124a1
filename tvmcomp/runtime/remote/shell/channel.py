"""One command on a board, through a client on this machine, ssh or adb: bytes in and out, in time.

What comes back is limited in size, as the board is not trusted with this machine's memory.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple

from tvmcomp.errors import ToolError

_CHUNK = 1 << 16
#: Of what a command prints beside its output, the last bytes.
_MOST_ERRORS = 4096
#: What may come that nothing asked for: a greeting of the login shell.
_MOST_UNASKED = 1 << 16
#: A client that was told to end has this time.
_END_SECONDS = 5.0


class OverdueError(Exception):
    """A deadline passed."""


class FloodError(Exception):
    """More came than was asked for."""


class EndedError(Exception):
    """The command has ended, or the connection."""


class Finished(NamedTuple):
    """What a command did.

    Attributes:
        status: its exit status; the client's own where the connection failed.
        output: what it printed.
        errors: the last of what it, or the client, printed to standard error.
    """

    status: int
    output: bytes
    errors: str


class Channel:
    """A command that runs. It is ended with the object, at the latest by :meth:`kill`.

    Args:
        command: the client's command line.
        source: a file that is its input; None: what is sent.

    Raises:
        ToolError: there is no such client on this machine.
    """

    def __init__(self, command: Sequence[str], source: IO[bytes] | None = None) -> None:
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=source or pipe, stdout=pipe, stderr=pipe, bufsize=0,
                start_new_session=True,  # Ctrl-C is for us, who end it in good order
            )  # fmt: skip
        except OSError as error:
            raise ToolError(
                f"can't start it: {error.strerror}", where=f"the program {command[0]}"
            ) from None
        assert self._process.stdout is not None and self._process.stderr is not None
        self._input = self._process.stdin
        self._output = self._process.stdout
        self._complaints = self._process.stderr
        self._selector = selectors.DefaultSelector()
        for stream in (self._output, self._complaints):
            self._selector.register(stream, selectors.EVENT_READ)
            os.set_blocking(stream.fileno(), False)
        if self._input is not None:
            os.set_blocking(self._input.fileno(), False)
        self._waiting = memoryview(b"")
        self._received = bytearray()
        self._errors = bytearray()

    def send(self, data: bytes, deadline: float, most: int = _MOST_UNASKED) -> None:
        """Give it ``data``. What it answers meanwhile, up to ``most`` bytes, is kept.

        Raises:
            EndedError: it takes no more.
            OverdueError, FloodError: not in time, or with too much of an answer.
        """
        if self._input is None:
            return
        self._waiting = memoryview(data)
        self._selector.register(self._input, selectors.EVENT_WRITE)
        try:
            while self._waiting:
                self._turn(deadline, most)
        finally:
            self._selector.unregister(self._input)

    def line(self, deadline: float) -> str:
        """The next line of its output, without its end.

        Raises:
            EndedError: it ended instead.
            OverdueError, FloodError: not in time, or a line without an end.
        """
        begun = 0
        while (end := self._received.find(b"\n", begun)) < 0:
            begun = len(self._received)
            self._need_output(deadline, _MOST_UNASKED)
        text = bytes(self._received[:end]).decode(errors="replace").rstrip("\r")
        del self._received[: end + 1]
        return text

    def take(self, count: int, deadline: float) -> bytes:
        """The next ``count`` bytes of its output.

        Raises:
            EndedError: it ended before.
            OverdueError, FloodError: not in time, or many more.
        """
        while len(self._received) < count:
            self._need_output(deadline, count + _MOST_UNASKED)
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def finish(self, deadline: float, most: int = _MOST_UNASKED) -> Finished:
        """Close its input and wait until it has ended.

        Raises:
            OverdueError, FloodError: not in time, or with more than ``most`` bytes of output.
        """
        self._close_input()
        while self._selector.get_map():
            self._turn(deadline, most)
        try:
            status = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise OverdueError from None
        return Finished(status, bytes(self._received), self.errors)

    def has_ended(self, seconds: float) -> bool:
        """Whether it has ended, or does so in some seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def kill(self) -> None:
        """End it on this side; harmless when repeated."""
        self._close_input()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._selector.close()
        self._output.close()
        self._complaints.close()

    @property
    def errors(self) -> str:
        """The last of what came by standard error."""
        return self._errors.decode(errors="replace").strip()

    def _need_output(self, deadline: float, most: int) -> None:
        if self._output not in self._selector.get_map():
            raise EndedError
        self._turn(deadline, most)

    def _turn(self, deadline: float, most: int) -> None:
        """Wait until something can be read or written, and do so."""
        left = deadline - time.monotonic()
        events = self._selector.select(left) if left > 0 else []
        if not events:
            raise OverdueError
        for key, _ in events:
            if key.fileobj is self._input:
                self._write(key.fd)
            else:
                self._read(key.fileobj, key.fd)
        if len(self._received) > most:
            raise FloodError

    def _write(self, descriptor: int) -> None:
        try:
            written = os.write(descriptor, self._waiting[:_CHUNK])
        except BlockingIOError:
            return
        except OSError:
            raise EndedError from None
        self._waiting = self._waiting[written:]

    def _read(self, stream: Any, descriptor: int) -> None:
        data = os.read(descriptor, _CHUNK)
        if not data:
            self._selector.unregister(stream)
        elif stream is self._output:
            self._received += data
        else:
            self._errors += data
            del self._errors[:-_MOST_ERRORS]

    def _close_input(self) -> None:
        if self._input is not None:
            with suppress(OSError):
                self._input.close()
