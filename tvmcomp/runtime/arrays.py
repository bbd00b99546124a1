"""Read and write arrays by name: ``.npz`` and ``.npy``, never with Python objects in them."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tvmcomp.errors import InputError

_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile)
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
        InputError: it can't be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, allow_pickle=False, **dict(arrays))
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"can't be written: {error.strerror}", where=str(path)) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return InputError(f"can't be read: {reason}", where=str(path), hint=_HINT)
