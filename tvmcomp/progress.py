"""How long work tells the person waiting for it how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Called once for each finished unit of work.
Step = Callable[[], None]


class Progress(Protocol):
    """Is told of each stage of a build, and draws it or not."""

    def stage(self, name: str, total: int | None = None) -> Step:
        """Begin the stage ``name`` of ``total`` units (None: unknown); the one before it ends."""
        ...

    def status(self, text: str) -> None:
        """Say beside the stage's name how it stands, in place of what was said before."""
        ...


class NoProgress:
    """The :class:`Progress` of a build from Python: silent."""

    def stage(self, name: str, total: int | None = None) -> Step:
        """See :class:`Progress`."""
        return lambda: None

    def status(self, text: str) -> None:
        """See :class:`Progress`."""
