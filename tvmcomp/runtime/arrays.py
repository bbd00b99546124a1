"""Read and write arrays by name: ``.npz`` and ``.npy``, never with Python objects in them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tvmcomp.errors import InputError
from tvmcomp.replaced_file import replaced_file

_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
#: Bytes of a name; a zip's limit is twice this.
_LONGEST_NAME = 1 << 15
_HINT = "Write it with numpy.savez(path, NAME=array, …)."


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``.

    Raises:
        InputError: it can't be read, or holds Python objects.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise InputError("holds a single array without a name", where=str(path), hint=_HINT)
        with archive:
            return dict(archive)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


def read_npy(path: Path) -> np.ndarray:
    """The array of an ``.npy``.

    Raises:
        InputError: it can't be read, or holds Python objects.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None
    if not isinstance(array, np.ndarray):
        raise InputError("is an .npz file, not one array", where=str(path))
    return array


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an ``.npz``, atomically.

    Raises:
        InputError: it can't be written, or can't hold an array of such a name.
    """
    try:
        with (
            replaced_file(path) as temporary,
            # Not numpy.savez, which takes the names `file` and `allow_pickle` for its own.
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
        ):
            for name, array in arrays.items():
                _check_name(name, path)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", where=str(path)) from None


def _check_name(name: str, path: Path) -> None:
    """Raise InputError where a zip can't hold an array of this name."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded or len(encoded) > _LONGEST_NAME:
        raise InputError(
            f"can't be written: an .npz file can't hold an array with the name {name[:40]!r}",
            where=str(path),
            hint="Rename that output in the model.",
        )


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return InputError(f"can't be read: {reason}", where=str(path), hint=_HINT)
