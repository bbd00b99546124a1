"""A folder that one process at a time works in: who comes second is told, and changes nothing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tvmcomp.errors import ConfigError


@contextmanager
def one_at_a_time(folder: Path, option: str) -> Iterator[None]:
    """Hold a folder for the block; the end of the process, a kill too, lets go of it.

    Args:
        folder: it is there.
        option: of the command line, that gives another folder.

    Raises:
        ConfigError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder, option)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, option: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            "another process works in it",
            where=str(folder),
            hint=f"Wait until it has ended, or give another folder with {option}.",
        ) from None
    except OSError:  # some network file systems lock no folders: nothing is known of others there
        return
