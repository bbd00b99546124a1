"""Read vectors, tables and texts out of a FlatBuffer, and count what is read.

Offsets may lead many times to one place; so all that is copied out of a file may be a few times its
size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tvmcomp.errors import ModelError

AGAIN = "The file is damaged or incomplete; download or convert it again."
#: So many times its own size may be read out of a file, and so many bytes that need no reason.
_GROWTH = 8
_PLAIN_BYTES = 1 << 26
#: Bytes of a name, and dimensions of a tensor.
_LONGEST_NAME = 4096
HIGHEST_RANK = 32


class Counted:
    """A file, and how much may still be read out of it."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        self.left = _GROWTH * len(data) + _PLAIN_BYTES

    def tables(self, table: Any, field: str) -> Iterator[Any]:
        """The tables of a vector of them, one by one."""
        count = getattr(table, f"{field}Length")()
        if 4 * count > len(self.data):
            raise self.error(f"ends before its {count:,} {field}")
        get: Callable[[int], Any] = getattr(table, field)
        for i in range(count):
            self.take(16)
            yield get(i)

    def vector(self, table: Any, field: str, most: int | None = None) -> np.ndarray:
        """A vector of numbers, of at most ``most``."""
        count = getattr(table, f"{field}Length")()
        if not count:
            return np.zeros(0, np.int64)
        if most is not None and count > most:
            raise self.error(f"has a {field} of {count:,} numbers; {most} are the most")
        values: np.ndarray = getattr(table, f"{field}AsNumpy")()
        self.take(values.nbytes)
        return values

    def indices(self, table: Any, field: str, count: int) -> tuple[int, ...]:
        """Indices of tensors; -1 is none."""
        values = self.vector(table, field)
        if values.size and (values.min() < -1 or values.max() >= count):
            raise self.error(f"names a tensor among its {field} that it does not have")
        return tuple(map(int, values))

    def index(self, value: int, count: int, what: str) -> int:
        """``value``, if it is one of ``count``."""
        if not 0 <= value < count:
            raise self.error(f"{what} is number {value} of {count}")
        return value

    def text(self, value: bytes | None) -> str:
        """A name."""
        value = value or b""
        if len(value) > _LONGEST_NAME:
            raise self.error(f"has a name of {len(value):,} bytes")
        self.take(len(value))
        return value.decode(errors="replace")

    def take(self, size: int) -> None:
        """Count bytes that are read out of the file."""
        self.left -= size
        if self.left < 0:
            raise self.error("unfolds to many times its own size")

    def error(self, what: str) -> ModelError:
        """An error of this file."""
        return ModelError(what, where=self.where, hint=AGAIN)
