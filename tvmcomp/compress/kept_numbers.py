"""Numbers that took long to find, in a file: a run that goes on takes them up again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tvmcomp.errors import ModelError
from tvmcomp.replaced_file import replaced_file


def read_numbers(path: Path, of: str) -> dict[str, float]:
    """The numbers in a file; none where there is no file, where it is damaged, or where it holds
    those of something else.

    Args:
        path: the file.
        of: what they must be of; as it was given to :func:`write_numbers`.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found.numbers if found.of == of else {}


def write_numbers(path: Path, of: str, numbers: Mapping[str, float]) -> None:
    """Write numbers, all or none.

    Raises:
        ModelError: they can't be written.
    """
    try:
        with replaced_file(path) as temporary:
            temporary.write_bytes(msgspec.json.encode(_File(of, dict(numbers))))
    except OSError as error:
        raise ModelError(
            f"what was measured can't be written: {error.strerror or error}", where=str(path)
        ) from error


class _File(msgspec.Struct, forbid_unknown_fields=True):
    of: str
    numbers: dict[str, float]
