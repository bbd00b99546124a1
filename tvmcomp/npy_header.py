"""The header of an .npy array, of a file that may be damaged or made to do harm."""

from __future__ import annotations

import tokenize
from typing import IO

import numpy as np

#: What numpy's reader, which has Python parse the header, lets through for one or another text.
_RAISED = (
    *(ValueError, TypeError, LookupError, AttributeError, OverflowError, SyntaxError, EOFError),
    *(RecursionError, MemoryError, tokenize.TokenError),
)


def read_header(handle: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header at the beginning of ``handle``, and nothing behind it.

    Returns:
        Shape, whether the array is in Fortran order, and dtype.

    Raises:
        ValueError: there is none, or it is of a version that numpy writes for names of fields.
    """
    try:
        version = np.lib.format.read_magic(handle)
        if version == (1, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(handle)
        elif version == (2, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(handle)
        else:
            raise ValueError(f"its format has version {version}")
    except _RAISED as error:
        raise ValueError(f"its header can't be read: {error}") from error
    if any(isinstance(size, bool) or size < 0 for size in shape):
        raise ValueError(f"its header says the shape {shape}")
    return shape, fortran_order, dtype
