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


def joined(arrays: Sequence[np.ndarray]) -> tuple[bytes, list[int]]:
    """The arrays one after the other, each aligned, and where each begins; at least one byte."""
    parts: list[bytes] = []
    places, end = [], 0
    for array in arrays:
        places.append(end)
        parts += [array.tobytes(), bytes(-array.nbytes % _ALIGNMENT)]
        end += array.nbytes + -array.nbytes % _ALIGNMENT
    return b"".join(parts) or bytes(_ALIGNMENT), places


def pointers(name: str, symbol: str, places: Sequence[int], static: bool = False) -> str:
    """C that defines the array of pointers ``name`` to places in the data ``symbol``."""
    kind = "static" if static else "extern"
    rows = "".join(f"    {symbol} + {place},\n" for place in places) or "    0,\n"
    declared = f"{kind} const void *const {name}[];\n" if not static else ""
    prefix = "static " if static else ""
    return f"{declared}{prefix}const void *const {name}[] = {{\n{rows}}};\n"
