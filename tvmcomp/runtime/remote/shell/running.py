"""A command that runs on a board: what it is sent, what it answers, and why it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING

from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote.shell import failures
from tvmcomp.runtime.remote.shell.channel import (
    Channel,
    EndedError,
    Finished,
    FloodError,
    OverdueError,
)

if TYPE_CHECKING:
    from tvmcomp.runtime.remote.shell.board import Board

#: What a client exits with when its connection, and not the command, failed; and what adb does
#: where it has none.
_CONNECTION_FAILED, _NO_CONNECTION = 255, 1
#: For what must end, as its connection has.
_END_SECONDS = 5.0
#: Where the connection was cut, the command that holds it ends in this time.
_CUT_SECONDS = 0.5
#: Of the output of a command that should print little.
MOST_OUTPUT = 1 << 16


class Running:
    """A command; a context manager that ends it.

    Args:
        board: where it runs.
        command: the client's command line.
        stop: ends it there.
        source: a file that is its standard input; None: what is sent.
    """

    def __init__(
        self,
        board: Board,
        command: Sequence[str],
        stop: Callable[[], None] | None = None,
        source: IO[bytes] | None = None,
    ) -> None:
        self._board = board
        self._stop = stop
        self._channel = Channel(command, source)

    def send(self, data: bytes, doing: str) -> None:
        """Write ``data`` to its standard input.

        Args:
            data: the bytes.
            doing: what for, in messages.

        Raises:
            DeviceError: it has ended, is overdue, or the connection broke.
        """
        with self._told(doing, self._board.deadline):
            self._channel.send(data, self._board.deadline)

    def line(self, doing: str) -> str:
        """A line of its output; raises as :meth:`send`."""
        with self._told(doing, self._board.deadline):
            return self._channel.line(self._board.deadline)

    def take(self, count: int, doing: str) -> bytes:
        """``count`` bytes of its output; raises as :meth:`send`."""
        with self._told(doing, self._board.deadline):
            return self._channel.take(count, self._board.deadline)

    def finish(
        self,
        doing: str,
        given: bytes = b"",
        most: int = MOST_OUTPUT,
        timeout: float | None = None,
    ) -> Finished:
        """Send it ``given``, and wait until it has ended.

        Args:
            doing: what for, in messages.
            given: the rest of its standard input.
            most: bytes of output that are taken.
            timeout: seconds; None is what is left of the session's.

        Raises:
            DeviceError: it is overdue, prints too much, or the connection broke.
        """
        deadline = self._board.deadline
        if timeout is not None:
            deadline = min(deadline, time.monotonic() + timeout)
        with self._told(doing, deadline):
            with suppress(EndedError):  # it does not want all of it
                self._channel.send(given, deadline, most)
            done = self._channel.finish(deadline, most)
        if self._is_gone(done):
            raise failures.gone_error(self._board.where, doing, done.errors)
        return done

    def kill(self) -> None:
        """End it; harmless when repeated."""
        self._channel.kill()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @contextmanager
    def _told(self, doing: str, deadline: float) -> Iterator[None]:
        begin = time.monotonic()
        where = self._board.where
        try:
            yield
        except OverdueError:
            self._end_there()
            whole = deadline >= self._board.deadline
            seconds = self._board.timeout if whole else deadline - begin
            raise failures.overdue_error(where, doing, seconds, whole) from None
        except FloodError:
            self._end_there()
            raise failures.flood_error(where, doing) from None
        except EndedError:
            raise self._why_ended(doing) from None

    def _end_there(self) -> None:
        if self._stop is not None:
            self._stop()

    def _why_ended(self, doing: str) -> DeviceError:
        board = self._board
        try:
            done = self._channel.finish(time.monotonic() + _END_SECONDS)
        except (OverdueError, FloodError):
            return failures.gone_error(board.where, doing, self._channel.errors)
        if self._is_gone(done):
            return failures.gone_error(board.where, doing, done.errors)
        return failures.program_error(board.where, doing, board.machine, done)

    def _is_gone(self, done: Finished) -> bool:
        if done.status == _NO_CONNECTION:
            return not self._board.is_held(_CUT_SECONDS)
        return done.status == _CONNECTION_FAILED
