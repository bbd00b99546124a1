"""Folders for what the linker writes and for libraries to load, where the user wants them."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tvmcomp.errors import ToolError

_LIMIT_HINT = "A limit on the size of files is in force; raise it (`ulimit -f unlimited`)."
#: What to do about a folder that is full, or can't be written to.
HINT = "Make room there, or set the environment variable TMPDIR to another folder."


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder of this process alone, in ``TMPDIR`` or the system's own place; removed at the end.

    Args:
        purpose: a word for its name.

    Raises:
        ToolError: it can't be made, or the block failed to write to it.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"tvmcomp-{purpose}-"))
    except OSError as error:
        raise ToolError(
            f"can't make a temporary folder: {error.strerror}",
            where=os.environ.get("TMPDIR"),
            hint=HINT,
        ) from None
    try:
        yield folder
    except OSError as error:
        if error.filename is not None and not Path(os.fsdecode(error.filename)).is_relative_to(
            folder
        ):
            raise
        raise ToolError(
            f"can't write temporary files: {error.strerror or error}",
            where=str(folder.parent),
            hint=_LIMIT_HINT if error.errno == errno.EFBIG else HINT,
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
