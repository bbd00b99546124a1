"""What must hold of an HDF5 file before Keras reads it: everything lies in it, and is no bomb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tvmcomp.errors import ModelError

#: Bytes that all data may unpack to, beside so many times the file's own.
_UNPACKED, _GROWTH = 16 << 20, 16
_MOST_OBJECTS = 200_000
_DEEPEST = 64
_HINT = "The file is damaged or hostile; save it again."


def check(path: Path, *, where: str) -> None:
    """Check the links and data of the HDF5 file in ``path``; no data is read.

    Raises:
        ModelError: it is damaged, links to other files, or holds data that is far larger than it.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _Walk(path.stat().st_size, where).group(file, 0)
    except ModelError:
        raise
    # It is the HDF5 library's own judgement of the file: whatever it raises speaks of the file.
    except Exception as error:
        raise ModelError(f"is a damaged HDF5 file: {error}", where=where, hint=_HINT) from error


class _Walk:
    """A visit of every object, each once however often it is linked."""

    def __init__(self, size: int, where: str) -> None:
        self._most = _UNPACKED + _GROWTH * size
        self._where = where
        self._used = 0
        self._seen: set[Any] = set()

    def group(self, group: Any, depth: int) -> None:
        """Check what lies in ``group``."""
        import h5py

        if depth > _DEEPEST or len(self._seen) > _MOST_OBJECTS:
            self._refuse("holds too many groups")
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                self._refuse(f"holds a link to elsewhere: {name!r}")
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if address in self._seen:
                continue
            self._seen.add(address)
            if isinstance(found, h5py.Group):
                self.group(found, depth + 1)
            elif isinstance(found, h5py.Dataset):
                self._dataset(found, name)
            else:
                self._refuse(f"holds a type of its own: {name!r}")

    def _dataset(self, data: Any, name: str) -> None:
        if data.external or data.is_virtual:
            self._refuse(f"keeps data in other files: {name!r}")
        if data.dtype.hasobject:
            self._refuse(f"holds data that is no numbers: {name!r}")
        self._used += data.size * data.dtype.itemsize
        if self._used > self._most:
            self._refuse(f"holds far more data than the file has bytes: {name!r}")

    def _refuse(self, what: str) -> None:
        raise ModelError(what, where=self._where, hint=_HINT)
