"""Constants as an entropy coder makes them smaller: what ``cruntime/coded.c`` reads, and says.

What gains are weights of 8 bits and fewer, the high bytes of floats and of biases, and zeros.
Constants are coded in *groups*: a large one is a group of its own, small ones of one type are one
together, without anything between them. A group is left as it is where that takes hardly more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tvmcomp.artifact.archive import ALIGNMENT
from tvmcomp.artifact.code_book import with_book
from tvmcomp.artifact.rans import (
    BLOCK,
    BLOCK_OVERHEAD,
    Block,
    bits,
    encoded,
    frequencies,
    table_bytes,
)

#: A group is coded where that saves such a share of it: what is not needs no other memory.
_LEAST_SAVED = 1 / 32
#: Bytes from which a constant is a group of its own: a table takes some 250.
_LARGE = 1 << 15
_PLAIN, _DIFFERENCES, _BOOK = range(3)
_STORED, _NEW_TABLE, _KNOWN_TABLES = range(3)
#: Tables that a later plane may use.
_MOST_TABLES = 256
#: Zeros that the decoder may read past the last block.
_TAIL = 8
#: Bytes that a group's numbers take, about.
_DESCRIPTION = 8


class Coded(NamedTuple):
    """Coded constants.

    Attributes:
        positions: which are coded.
        data: they; empty where none is.
    """

    positions: frozenset[int]
    data: bytes


class _Plane(NamedTuple):
    """One plane of a group, and how it is coded; its frequencies are None where it is stored."""

    content: np.ndarray
    kind: int
    frequencies: np.ndarray | None
    nbytes: float


class _Group(NamedTuple):
    head: bytes
    planes: list[_Plane]
    new_tables: list[np.ndarray]

    @property
    def nbytes(self) -> float:
        return len(self.head) + sum(plane.nbytes for plane in self.planes)


def coded(arrays: Sequence[np.ndarray]) -> Coded:
    """Code those of ``arrays`` that become smaller; the same for the same arrays.

    Args:
        arrays: C-contiguous, of this machine's byte order, which is little-endian.
    """
    together: dict[str, list[int]] = {}
    for position, array in enumerate(arrays):
        if array.nbytes:
            together.setdefault(_family(position, array), []).append(position)
    # Small ones then find tables that large ones brought.
    by_size = sorted(together.values(), key=lambda group: -sum(arrays[i].nbytes for i in group))
    tables: list[np.ndarray] = []
    groups, positions = [], set()
    for group in by_size:
        made = _group(group, [arrays[i] for i in group], tables)
        plain = sum(_aligned(arrays[i].nbytes) for i in group)
        if made.nbytes + _DESCRIPTION <= plain * (1 - _LEAST_SAVED):
            groups.append(made)
            positions.update(group)
            tables += made.new_tables[: _MOST_TABLES - len(tables)]
    return Coded(frozenset(positions), _stream(groups) if groups else b"")


def _family(position: int, array: np.ndarray) -> str:
    """What constants of one group share: type, and bits and spread of 8-bit numbers; or nothing."""
    if array.nbytes >= _LARGE:
        return str(position)
    if array.dtype != np.int8:
        return str(array.dtype)
    values = array.astype(np.float32)
    width = int(np.abs(values).max()).bit_length()
    spread = round(2 * math.log2(max(1.0, float(np.sqrt(np.mean(values**2))))))
    return f"int8 of {width} bits, {spread}"


def _group(
    positions: Sequence[int], members: Sequence[np.ndarray], tables: Sequence[np.ndarray]
) -> _Group:
    """The shortest form of a group."""
    content = b"".join(array.tobytes() for array in members)
    itemsize = members[0].itemsize
    elements = np.frombuffer(content, np.uint8).reshape(-1, itemsize)

    def made(form: int, planes: Sequence[np.ndarray], book: bytes = b"") -> _Group:
        gaps = (b - a - 1 for a, b in itertools.pairwise([-1, *positions]))
        numbers = [form, len(positions), *gaps, itemsize]
        if form == _BOOK:
            numbers.append(len(book) // itemsize)
        head, new = b"".join(map(_number, numbers)) + book, list[np.ndarray]()
        return _Group(head, [_plane(plane, tables, new) for plane in planes], new)

    forms = [made(_PLAIN, [np.ascontiguousarray(plane) for plane in elements.T])]
    if looked_up := with_book(content, itemsize):
        book, indices = looked_up
        forms.append(made(_BOOK, [np.frombuffer(indices, np.uint8)], book))
    if members[0].dtype == np.uint8:
        forms.append(made(_DIFFERENCES, [np.diff(elements[:, 0], prepend=np.uint8(0))]))
    return min(forms, key=lambda group: group.nbytes)


def _plane(content: np.ndarray, tables: Sequence[np.ndarray], new: list[np.ndarray]) -> _Plane:
    """A plane with a table of its own, one that is known already, or none: what is shortest.

    Args:
        content: uint8.
        tables: what other groups brought.
        new: what this one did; another is added.
    """
    counts = np.bincount(content, minlength=256)
    overhead = BLOCK_OVERHEAD * -(-len(content) // BLOCK)
    own = frequencies(counts)
    ways = [_Plane(content, _STORED, None, len(content))]
    known = [*tables, *new]
    for kind, freqs in ((_NEW_TABLE, own), *enumerate(known, _KNOWN_TABLES)):
        if kind < _KNOWN_TABLES + _MOST_TABLES and np.all(freqs[counts > 0]):
            nbytes = overhead + counts[counts > 0] @ bits(freqs)[counts > 0] / 8
            nbytes += len(table_bytes(freqs)) if kind == _NEW_TABLE else 0
            ways.append(_Plane(content, kind, freqs, nbytes))
    best = min(ways, key=lambda plane: plane.nbytes)
    if best.kind == _NEW_TABLE:
        new.append(own)
    return best


def _stream(groups: Sequence[_Group]) -> bytes:
    planes = [plane for group in groups for plane in group.planes]
    blocks = [
        Block(plane.content[i : i + BLOCK], plane.frequencies)
        for plane in planes
        if plane.frequencies is not None
        for i in range(0, len(plane.content), BLOCK)
    ]
    streams = encoded(blocks)
    parts = [_number(len(groups))]
    for group in groups:
        parts.append(group.head)
        for plane in group.planes:
            parts.append(_number(plane.kind))
            if plane.frequencies is None:
                parts.append(plane.content.tobytes())
                continue
            if plane.kind == _NEW_TABLE:
                parts.append(table_bytes(plane.frequencies))
            parts += itertools.islice(streams, -(-len(plane.content) // BLOCK))
    parts.append(bytes(-sum(map(len, parts)) % 4 + _TAIL))
    body = b"".join(parts)
    return _checksum(body) + body


def _number(value: int) -> bytes:
    """7 bits a byte, the lowest first."""
    made = bytearray()
    while value >= 128:
        made.append(128 | value & 127)
        value >>= 7
    return bytes([*made, value])


def _checksum(body: bytes) -> bytes:
    """The sum of the words, and the sum of those sums."""
    sums = np.cumsum(np.frombuffer(body, "<u4"), dtype=np.uint64)
    return np.array([sums[-1], sums.sum(dtype=np.uint64)], "<u8").tobytes()


def _aligned(size: int) -> int:
    return size + -size % ALIGNMENT
