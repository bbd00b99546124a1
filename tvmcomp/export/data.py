"""Arrays as read-only data of a program: a file of bytes, and the assembler that takes it in.

C would do as well, and takes a minute for 20 MB of numbers. Every process that runs the program
maps the data, and it is read from disk where it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

#: What kernels take their tensors to be aligned to, in bytes.
_ALIGNMENT = 64

_NO_ROWS = "    0,\n"
_ASSEMBLER = """\
/* {symbol}: the bytes of {file}, read-only, at a multiple of {alignment}.
 * Their SHA-256 tells a compiler's cache that they are others: {digest} */
#if defined(__arm__)
#define KIND(name) %name /* a comment begins with @ there */
#else
#define KIND(name) @name
#endif
        .section .rodata.{symbol}, "a", KIND(progbits)
        .balign {alignment}
        .globl {symbol}
        .hidden {symbol}
        .type {symbol}, KIND(object)
{symbol}:
        .incbin "{file}"
        .size {symbol}, . - {symbol}
        .section .note.GNU-stack, "", KIND(progbits)
"""


def assembler(symbol: str, file: str, data: bytes) -> str:
    """Source for a C compiler (``.S``): ``symbol`` is the bytes of ``file``, which are ``data``."""
    digest = hashlib.sha256(data).hexdigest()
    return _ASSEMBLER.format(symbol=symbol, file=file, alignment=_ALIGNMENT, digest=digest)


def joined(arrays: Sequence[np.ndarray | None]) -> tuple[bytes, list[int | None]]:
    """The arrays one after the other, each aligned, and where each begins; at least one byte."""
    parts: list[bytes] = []
    places: list[int | None] = []
    end = 0
    for array in arrays:
        places.append(None if array is None else end)
        if array is not None:
            parts += [array.tobytes(), bytes(-array.nbytes % _ALIGNMENT)]
            end += array.nbytes + -array.nbytes % _ALIGNMENT
    return b"".join(parts) or bytes(_ALIGNMENT), places


def pointers(name: str, symbol: str, places: Sequence[int | None]) -> str:
    """C that defines the array ``name`` of pointers into the data ``symbol``; NULL for None."""
    rows = "".join(f"    {'0' if at is None else f'{symbol} + {at}'},\n" for at in places)
    return f"static const void *const {name}[] = {{\n{rows or _NO_ROWS}}};\n"
