"""Where connections to an RPC server wait: all greet at once, sessions come one after another.

A client's greeting is a magic number, the length of a key, and the key. TVM's server loop reads it
with one connection at a time, so whoever connects and says nothing keeps all others out. Here each
has a time limit of its own, and only those whose greeting is complete get to the loop.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

#: TVM's ``RPC_MAGIC``, as it goes over the wire.
_MAGIC = struct.pack("<i", 0xFF271)
_LENGTH = struct.Struct("<i")
_LONGEST_KEY = 4096
#: A client must have greeted in this time; generous, for slow networks: it keeps no one waiting.
GREETING_SECONDS = 30.0
#: Greetings at the same time; where one more comes, the oldest has had its chance.
MOST_GREETING = 64
#: Clients that have greeted and wait for their session; one more is turned away.
MOST_WAITING = 32
_TICK_SECONDS = 0.5


@dataclass
class _Guest:
    connection: socket.socket
    address: Any
    deadline: float
    greeting: bytes = b""
    is_waiting: bool = False


@dataclass
class Greeted:
    """A connection whose greeting can still be read from it, as from the socket itself."""

    socket: socket.socket
    _greeting: bytes = field(repr=False)

    def recv(self, size: int) -> bytes:
        """What the client sent, its greeting first."""
        if not self._greeting:
            return self.socket.recv(size)
        data, self._greeting = self._greeting[:size], self._greeting[size:]
        return data

    def sendall(self, data: bytes) -> None:
        """Send."""
        self.socket.sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        """Set the limit of each call."""
        self.socket.settimeout(seconds)

    def fileno(self) -> int:
        """The descriptor."""
        return self.socket.fileno()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()


class Lobby:
    """Stands in front of a listening socket, and for it in TVM's server loop.

    Args:
        listener: takes connections from now on, in a thread of the lobby's.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        listener.setblocking(False)
        self._guests: dict[socket.socket, _Guest] = {}  # in the order they came
        self._waiting: deque[_Guest] = deque()
        self._changed = threading.Condition()
        # Readable while someone waits: TVM's loop selects on it.
        self._bell, self._bell_rope = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        threading.Thread(target=self._receive, daemon=True, name="lobby").start()

    def fileno(self) -> int:
        """A descriptor that is readable while a client waits for its session."""
        return self._bell

    def accept(self) -> tuple[Greeted, Any]:
        """The connection of the client that has waited longest, and its address. Waits for one."""
        with self._changed:
            # With a limit in each wait, Ctrl-C is noticed.
            while not self._waiting:
                self._changed.wait(_TICK_SECONDS)
            guest = self._waiting.popleft()
            self._forget(guest)
            if not self._waiting:
                os.read(self._bell, 1)
        guest.connection.settimeout(GREETING_SECONDS)
        return Greeted(guest.connection, guest.greeting), guest.address

    def close_in_child(self) -> None:
        """Let go of every connection in a forked child: they are the parent's to end."""
        for connection in (self._listener, *self._guests):
            with suppress(OSError):
                connection.close()

    def _receive(self) -> None:
        while self._listener.fileno() >= 0:  # until it is closed
            for key, _ in self._selector.select(_TICK_SECONDS):
                with self._changed:
                    if key.fileobj is self._listener:
                        self._welcome()
                    elif (guest := self._guests.get(key.data)) is not None:
                        self._listen_to(guest)
            now = time.monotonic()
            with self._changed:
                late = [g for g in self._guests.values() if not g.is_waiting and g.deadline < now]
                for guest in late:
                    self._dismiss(guest)

    def _welcome(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError:  # it is gone again, or there are no descriptors left
            return
        connection.setblocking(False)
        guest = _Guest(connection, address, time.monotonic() + GREETING_SECONDS)
        greeting = [other for other in self._guests.values() if not other.is_waiting]
        if len(greeting) >= MOST_GREETING:
            self._dismiss(greeting[0])
        self._guests[connection] = guest
        self._selector.register(connection, selectors.EVENT_READ, connection)

    def _listen_to(self, guest: _Guest) -> None:
        """Read what is missing of a greeting, and no byte more."""
        missing = _missing(guest.greeting)
        try:
            # Who has greeted waits for an answer: what there is to read is the connection's end.
            data = guest.connection.recv(missing or 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        guest.greeting += data
        missing = _missing(guest.greeting)
        if (
            not data
            or guest.is_waiting
            or missing is None
            or (missing == 0 and len(self._waiting) >= MOST_WAITING)
        ):
            self._dismiss(guest)
        elif missing == 0:
            guest.is_waiting = True
            self._waiting.append(guest)
            if len(self._waiting) == 1:
                os.write(self._bell_rope, b"!")
            self._changed.notify()

    def _dismiss(self, guest: _Guest) -> None:
        if guest.is_waiting:
            self._waiting.remove(guest)
            if not self._waiting:
                os.read(self._bell, 1)
        self._forget(guest)
        guest.connection.close()

    def _forget(self, guest: _Guest) -> None:
        self._selector.unregister(guest.connection)
        del self._guests[guest.connection]


def _missing(greeting: bytes) -> int | None:
    """Bytes that complete the part of a greeting which is being read; None: it is no greeting."""
    if not _MAGIC.startswith(greeting[: len(_MAGIC)]):
        return None
    if len(greeting) < len(_MAGIC):
        return len(_MAGIC) - len(greeting)
    header = len(_MAGIC) + _LENGTH.size
    if len(greeting) < header:
        return header - len(greeting)
    (length,) = _LENGTH.unpack_from(greeting, len(_MAGIC))
    if not 0 < length <= _LONGEST_KEY:
        return None
    return header + int(length) - len(greeting)
