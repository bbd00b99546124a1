"""Files of lines of JSON that the searches of one user share: append-only, safe to join."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from tvmcomp.errors import ModelError

T = TypeVar("T", bound=msgspec.Struct)


def append_line(file: Path, line: msgspec.Struct) -> None:
    """Add a line, and the file's folders where they are missing.

    Raises:
        ModelError: it can't be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as opened:
            # The first end of line is for what a kill may have torn before it.
            opened.write(b"\n" + msgspec.json.encode(line) + b"\n")
    except OSError as error:
        raise ModelError(f"can't be written: {error.strerror or error}", where=str(file)) from error


def newest_lines(file: Path, of: type[T], most_bytes: int) -> list[T]:
    """The lines that can be read, newest last: others are of other versions, torn, or damaged.

    Args:
        file: may be missing.
        of: what a line is.
        most_bytes: that are read, from the end.
    """
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - most_bytes))
            text = opened.read(most_bytes)
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(msgspec.json.decode(line, type=of))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return found
