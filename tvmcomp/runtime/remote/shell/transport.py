"""How a board with a shell is reached: the command lines of a client on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tvmcomp.errors import DeviceError


class Transport(Protocol):
    """A client: ssh, or adb.

    Attributes:
        name: the address that the person gave.
    """

    name: str

    def first(self, line: str) -> list[str]:
        """What runs ``line`` in the board's shell and stays while the others run."""

    def more(self, line: str) -> list[str]:
        """What runs ``line``, over the connection of the first where that can be."""

    def copy(self, source: str, place: str) -> Sequence[str] | None:
        """What copies a file there; None: a command of the shell reads it from standard input."""

    def refusal(self, errors: str) -> DeviceError:
        """Why there is no connection, from what the client printed."""

    def close(self) -> None:
        """Remove what it needed on this machine."""


def last_line(errors: str, default: str = "it gave no reason") -> str:
    """What a program said last, short enough for a message."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1][:300] if lines else default
