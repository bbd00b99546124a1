"""The folder of a session on a board: it is there as long as the connection that made it."""

from __future__ import annotations

import time
from contextlib import suppress

from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote.shell import failures, scripts
from tvmcomp.runtime.remote.shell.channel import Channel, EndedError, FloodError, OverdueError
from tvmcomp.runtime.remote.shell.transport import Transport

#: Seconds for a board to answer a connection.
_CONNECT_SECONDS = 30.0
#: A board that does not notice a cut connection ends the session so long after its time-out.
_GRACE_SECONDS = 30.0
#: For the board to end what runs in the folder, and remove it.
_END_SECONDS = 15.0
#: Lines before the one that is waited for: greetings of the login shell.
_MOST_LINES = 1000


class HeldFolder:
    """A new folder, and the connection that holds it; ``scripts.HOLD`` is its other end.

    Args:
        transport: the client.
        base: where to make it; "" is the board's own place for temporary files.
        timeout: seconds that the session may take.

    Attributes:
        path: of the folder.
        machine: what ``uname -m`` says there.
        cores: physical cores that programs may use.

    Raises:
        DeviceError: the board does not answer, lets nobody in, or has no place for a folder.
    """

    def __init__(self, transport: Transport, base: str, timeout: float) -> None:
        self._transport = transport
        self._where = f"device {transport.name}"
        limit = str(int(timeout + _GRACE_SECONDS))
        self._channel = Channel(transport.first(scripts.call(scripts.HOLD, base, limit)))
        try:
            greeting = self._greeting(base, time.monotonic() + min(timeout, _CONNECT_SECONDS))
            self.machine, self.cores, self.path = greeting
        except BaseException:
            self.close()
            raise

    def is_held(self, seconds: float) -> bool:
        """Whether the folder is still there after some seconds."""
        return not self._channel.has_ended(seconds)

    def close(self) -> None:
        """End what runs in it, remove it, end the connection; harmless when repeated."""
        with suppress(OverdueError, FloodError):
            self._channel.finish(time.monotonic() + _END_SECONDS)
        self._channel.kill()

    def _greeting(self, base: str, deadline: float) -> tuple[str, int, str]:
        """What the board says when it has made the folder: machine, cores, folder."""
        try:
            for _ in range(_MOST_LINES):
                line = self._channel.line(deadline)
                if line.startswith(scripts.HELD):
                    return _facts(line.removeprefix(scripts.HELD))
        except EndedError:
            raise self._refusal(base) from None
        except OverdueError:
            raise DeviceError("does not answer: it says nothing", where=self._where) from None
        except (FloodError, ValueError):
            pass
        raise DeviceError("answers, but not as a POSIX shell does", where=self._where)

    def _refusal(self, base: str) -> DeviceError:
        """Why there is no folder, or no connection."""
        status = None
        with suppress(OverdueError, FloodError):
            status = self._channel.finish(time.monotonic() + _END_SECONDS).status
        if status == scripts.NO_FOLDER:
            return failures.folder_error(self._where, base, self._channel.errors)
        return self._transport.refusal(self._channel.errors)


def _facts(text: str) -> tuple[str, int, str]:
    machine, cores, usable, folder = text.split(" ", 3)
    if not folder.startswith("/") or not text.isprintable():
        raise ValueError
    found = [int(number) for number in (cores, usable) if int(number) > 0]
    return machine, min(found, default=1), folder
