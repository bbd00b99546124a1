"""Write a file so that a reader finds the old one or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What people may do with a new file, before the umask.
_MODE = 0o666


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` to write to, which takes its place when the block ends.

    It has the permissions of any file that the user makes. Where the block raises, ``path`` is left
    as it was and nothing else stays.

    Raises:
        OSError: it can't be written there, or ``path`` is a folder, a device or a pipe.
    """
    path = Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    if path.exists() and not path.is_file():
        raise OSError(0, "it is a folder, a device or a pipe, and no file to replace")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tvmcomp-")
    temporary = Path(name)
    try:
        os.close(handle)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(_MODE & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
