"""Constants of few values: each value once, and for each element which it is."""

from __future__ import annotations

import numpy as np

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
    if itemsize not in (2, 4, 8):
        return None
    elements = np.frombuffer(content, f"<u{itemsize}")
    if len(np.unique(elements[:_GLANCE])) > _MOST:
        return None
    book, indices = np.unique(elements, return_inverse=True)
    if len(book) > _MOST:
        return None
    return book.tobytes(), indices.astype(np.uint8).tobytes()
