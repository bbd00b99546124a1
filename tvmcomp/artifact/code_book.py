"""Constants of few values in the file: each value once, and for each element which it is."""

from __future__ import annotations

import numpy as np

from tvmcomp.errors import ArtifactError

#: What a byte can point at.
_MOST = 256
#: Elements that tell whether there are few values, before all are looked at.
_GLANCE = 4096


def with_book(content: bytes, itemsize: int) -> tuple[bytes, bytes] | None:
    """The different elements of ``content``, one after the other, and a byte an element that says
    which it is; None of bytes themselves and of more than 256.

    Args:
        content: elements of ``itemsize`` bytes.
        itemsize: 1, 2, 4 or 8.
    """
    if itemsize == 1:
        return None
    elements = np.frombuffer(content, f"<u{itemsize}")
    if len(np.unique(elements[:_GLANCE])) > _MOST:
        return None
    book, indices = np.unique(elements, return_inverse=True)
    if len(book) > _MOST:
        return None
    return book.tobytes(), indices.astype(np.uint8).tobytes()


def look_up(book: np.ndarray, indices: np.ndarray, result: np.ndarray, where: str) -> None:
    """Put the entries of ``book`` that ``indices`` name into ``result``.

    Args:
        book: uint8 [entries, itemsize].
        indices: uint8 [elements].
        result: uint8 [elements, itemsize].
        where: names the file in errors.

    Raises:
        ArtifactError: an index is past the end of the book.
    """
    if indices.size and int(indices.max()) >= len(book):
        raise ArtifactError("a constant points past its code book", where=where)
    np.take(book, indices, axis=0, out=result)
