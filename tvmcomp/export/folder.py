"""A folder that appears with all that is in it, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tvmcomp.errors import ConfigError

#: What people may do with a new folder, before the umask.
_MODE = 0o777


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to write to, which takes its place when the block ends.

    Where the block raises, nothing stays.

    Args:
        path: there is nothing, or an empty folder. Folders above it that are missing are made.

    Raises:
        ConfigError: there is something, or it can't be written there.
    """
    path = Path(os.path.realpath(path))  # a link stays, what it leads to is replaced
    if path.is_dir() and any(path.iterdir()):
        raise ConfigError(
            "the folder is not empty", where=str(path), hint="Give a new or an empty one with -o."
        )
    if path.exists() and not path.is_dir():
        raise ConfigError("it is a file, and no folder to write", where=str(path))
    temporary, above = None, list[Path]()
    try:
        above += (each for each in path.parents if not each.exists())
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".tvmcomp-"))
        yield temporary
        temporary.chmod(_MODE & ~_umask())
        temporary.rename(path)
    except OSError as error:
        raise ConfigError(
            f"the folder can't be written: {error.strerror or error}", where=str(path)
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # what is made, or what somebody else put there, stays
            for folder in above:
                folder.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
