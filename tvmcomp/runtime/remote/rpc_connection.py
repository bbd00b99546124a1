"""A connection of TVM's RPC client that can be given up.

A call into TVM's client waits for its answer without a limit. So each runs in a thread of its own,
and past the limit the connection is shut down, which ends the call. What waits where no thread of
Python's can help has a limit from outside: see deadline.py.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tvmcomp.runtime.remote.address import Address
from tvmcomp.runtime.remote.deadline import Deadline
from tvmcomp.tvm_import import tvm  # noqa: F401  the one way to import TVM, before tvm.rpc

#: A call whose connection was shut down ends in this time.
_END_SECONDS = 5.0


class OverdueError(Exception):
    """A call did not end in its time; the connection has been given up."""


class RpcConnection:
    """A session with a server.

    Attributes:
        session: TVM's RPC session; None until connected.
        is_open: False once the connection has been closed or given up.
    """

    def __init__(self, address: Address) -> None:
        self.session: Any = None
        self.is_open = True
        self._address = address
        self._sockets_before = _sockets_to(address)
        self._socket: socket.socket | None = None
        self._limit: Deadline | None = None

    def connect(self, match_key: str, session_seconds: float, wait: float) -> None:
        """Connect.

        Args:
            match_key: what the server expects; "" without a tracker.
            session_seconds: after which the server ends the session.
            wait: seconds for the server to answer.

        Raises:
            OverdueError: it does not.
            Exception: whatever TVM raises where it refuses.
        """
        from tvm import rpc

        def open_session() -> Any:
            place = self._address
            return rpc.connect(place.host, place.port, match_key, session_timeout=session_seconds)

        self.session = self.call(open_session, time.monotonic() + wait)
        self._socket = self._find_socket()

    def end_in(self, seconds: float) -> None:
        """End the connection in so many seconds, whatever this process does then."""
        if self._socket is not None:
            self._limit = Deadline(self._socket, seconds)

    def call(self, function: Callable[..., Any], deadline: float, *args: Any) -> Any:
        """Call ``function``; give the connection up where it has not ended by ``deadline``.

        Raises:
            OverdueError: it has not.
            Exception: whatever ``function`` raises.
        """
        result: list[Any] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                result.append(function(*args))
            except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
                failure.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            thread.join(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            self.give_up()
            raise
        if thread.is_alive():
            self.give_up()
            thread.join(_END_SECONDS)  # a thread in C++ must not outlive the interpreter
            raise OverdueError
        if failure:
            raise failure[0]
        return result[0]

    def give_up(self) -> None:
        """End the connection at once; whatever waits for it ends with an error."""
        self.is_open = False
        connection = self._socket or self._find_socket()
        self._socket = None
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        if self._limit is not None:
            self._limit.lift()

    def close(self, deadline: float) -> None:
        """End the session as TVM does, then the connection."""
        if self.is_open and self.session is not None:
            with suppress(Exception):  # it may have gone just now
                self.call(self.session.get_function("CloseRPCConnection"), deadline)
        self.give_up()

    def _find_socket(self) -> socket.socket | None:
        """A handle of our own on the connection that TVM's client made."""
        for descriptor in _sockets_to(self._address) - self._sockets_before:
            return _share_socket(descriptor)
        return None


def _sockets_to(address: Address) -> set[int]:
    """Descriptors of this process that are connected to ``address``."""
    try:
        infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    places = {info[4][:2] for info in infos}
    found = set()
    folder = Path("/proc/self/fd")
    for descriptor in [int(entry.name) for entry in folder.iterdir()] if folder.is_dir() else []:
        connection = _share_socket(descriptor)
        if connection is not None:
            with connection, suppress(OSError):
                if connection.getpeername()[:2] in places:
                    found.add(descriptor)
    return found


def _share_socket(descriptor: int) -> socket.socket | None:
    """A socket object of our own on a descriptor that another owns; None if it is no socket."""
    with suppress(OSError):
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return socket.socket(fileno=os.dup(descriptor))
    return None
