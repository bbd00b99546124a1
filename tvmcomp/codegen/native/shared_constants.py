"""The constants of a network's several shapes: those that are equal are one, for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SharedConstants:
    """One table of constants for all shapes.

    Attributes:
        arrays: each once.
        places: for each shape, where in the table each of its own constants is.
    """

    arrays: list[np.ndarray]
    places: list[list[int]]

    @property
    def shared_nbytes(self) -> int:
        """Bytes of the constants that every shape reads."""
        by_all = set(self.places[0]).intersection(*self.places)
        return sum(self.arrays[place].nbytes for place in by_all)


def shared_constants(shapes: Sequence[Sequence[np.ndarray]]) -> SharedConstants:
    """Put the constants of each shape into one table.

    Two are one where their type, their shape and all bytes are equal.
    """
    if len(shapes) == 1:  # nothing to compare: they are in its order
        return SharedConstants(list(shapes[0]), [list(range(len(shapes[0])))])
    arrays: list[np.ndarray] = []
    known: dict[tuple[str, tuple[int, ...], bytes], int] = {}
    places = []
    for constants in shapes:
        own = []
        for array in constants:
            key = str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).digest()
            if key not in known:
                known[key] = len(arrays)
                arrays.append(array)
            own.append(known[key])
        places.append(own)
    return SharedConstants(arrays, places)
