"""Constants that are coded together: by planes of bytes, or as indices into a code book."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from tvmcomp.artifact.archive import ALIGNMENT, private_memory
from tvmcomp.artifact.code_book import look_up, with_book
from tvmcomp.errors import ArtifactError

#: Coding must make all constants together, and a group, smaller by these shares.
_LEAST_SAVED, _LEAST_SAVED_OF_GROUP = 1 / 4, 1 / 8
#: Bytes that a group takes in the metadata, about.
_DESCRIPTION = 128
#: Bytes from which a constant is a group of its own: a stream begins with some 70 of its own.
_LARGE = 4096
#: A byte of a zlib stream gives at most so many.
_MOST_FROM_ONE = 1032


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Constants of one size of element that are coded together.

    Attributes:
        constants: their positions, ascending.
        planes: bytes that each plane takes in the file; as many as it has: it is stored.
        entries: of the code book, of which the one plane holds indices; 0 where there is none.
        itemsize: bytes of an entry.
        differences: the one plane is of each byte's difference to the one before, modulo 256:
            tables of functions are smooth, so most differences are a few small numbers.
    """

    constants: tuple[int, ...]
    planes: tuple[int, ...]
    entries: int = 0
    itemsize: int = 0
    differences: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes that the group takes in the file."""
        return self.entries * self.itemsize + sum(self.planes)


class Member(NamedTuple):
    """A constant of a group."""

    nbytes: int
    dtype: np.dtype
    shape: tuple[int, ...]


def coded(arrays: Sequence[np.ndarray]) -> list[tuple[Group, list[bytes]]]:
    """The groups that are coded, with the bytes of each; none where it does not pay."""
    together: dict[str, list[int]] = {}
    for position, array in enumerate(arrays):
        if array.nbytes:
            together.setdefault(_family(position, array), []).append(position)
    found, saved = [], 0
    for positions in together.values():
        members = [arrays[position] for position in positions]
        content = b"".join(array.tobytes() for array in members)
        itemsize = members[0].itemsize
        planes = np.frombuffer(content, np.uint8).reshape(-1, itemsize)
        streams = [_deflated(planes[:, place].tobytes()) for place in range(itemsize)]
        group = Group(tuple(positions), tuple(map(len, streams)))
        looked_up = with_book(content, itemsize)
        if looked_up is not None:
            book, indices = looked_up
            stream = _deflated(indices)
            if len(book) + len(stream) < group.nbytes:
                entries = len(book) // itemsize
                group = Group(group.constants, (len(stream),), entries, itemsize)
                streams = [book, stream]
        if members[0].dtype == np.uint8:
            stream = _deflated(np.diff(planes[:, 0], prepend=np.uint8(0)).tobytes())
            if len(stream) < group.nbytes:
                group, streams = Group(group.constants, (len(stream),), differences=True), [stream]
        stored = sum(aligned(array.nbytes) for array in members)
        gain = stored - group.nbytes - _DESCRIPTION
        if gain >= _LEAST_SAVED_OF_GROUP * stored:
            found.append((group, streams))
            saved += gain
    whole = sum(aligned(array.nbytes) for array in arrays)
    return found if found and saved >= _LEAST_SAVED * whole else []


def _family(position: int, array: np.ndarray) -> str:
    """What constants of one group share: type, and bits of 8-bit numbers; or nothing."""
    if array.nbytes >= _LARGE:
        return str(position)
    bits = int(np.abs(array.astype(np.int16)).max()).bit_length() if array.dtype == np.int8 else 0
    return f"{array.dtype} of {bits} bits"


def _deflated(plane: bytes) -> bytes:
    """The shorter of two zlib streams of ``plane``, or itself.

    Weights hardly repeat: with matches streams are a tenth longer. Runs of zeros are padding.
    """
    found = [plane]
    for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE):
        encoder = zlib.compressobj(9, wbits=15, memLevel=9, strategy=strategy)
        found.append(encoder.compress(plane) + encoder.flush())
    return min(found, key=len)


def decoded(
    group: Group, members: Sequence[Member], data: np.ndarray, where: str
) -> list[np.ndarray]:
    """The constants of a group, in memory of their own.

    Args:
        group: what the metadata says of it.
        members: its constants.
        data: its bytes in the file.
        where: names the file in errors.

    Raises:
        ArtifactError: they contradict each other.
    """
    itemsizes = {member.dtype.itemsize for member in members}
    size = sum(member.nbytes for member in members)
    itemsize = max(itemsizes)
    width = 1 if group.entries else itemsize
    wrong_book = group.entries and group.itemsize != itemsize
    if len(itemsizes) != 1 or len(group.planes) != width or wrong_book or not size:
        raise ArtifactError("a group's planes are not those of its constants", where=where)
    count = size // itemsize
    if any(count > _MOST_FROM_ONE * plane for plane in group.planes):
        raise ArtifactError("a group gives more than its bytes can hold", where=where)
    begins = [0, *itertools.accumulate(aligned(member.nbytes) for member in members)]
    try:
        memory = np.frombuffer(private_memory(begins[-1]), np.uint8)
    except OSError as error:
        raise ArtifactError(f"can't be decoded: {error.strerror}", where=where) from None
    arrays = [
        memory[begin : begin + member.nbytes]
        for begin, member in zip(begins, members, strict=False)
    ]
    end = group.entries * group.itemsize
    book = data[:end]
    for place, stored in enumerate(group.planes):
        plane = _inflated(data[end : end + stored], count, where)
        if group.differences:
            plane = np.cumsum(plane, dtype=np.uint8)
        end += stored
        done = 0
        for array in arrays:
            elements = array.reshape(-1, itemsize)
            own = plane[done : done + len(elements)]
            if group.entries:
                look_up(book.reshape(-1, itemsize), own, elements, where)
            else:
                elements[:, place] = own
            done += len(elements)
    return [
        array.view(member.dtype).reshape(member.shape)
        for array, member in zip(arrays, members, strict=True)
    ]


def _inflated(data: np.ndarray, count: int, where: str) -> np.ndarray:
    """The ``count`` bytes of a plane."""
    if data.nbytes == count:
        return data
    decoder = zlib.decompressobj()
    try:
        plane = decoder.decompress(data.data, count + 1)
    except zlib.error as error:
        raise ArtifactError(f"a group can't be decoded: {error}", where=where) from None
    if len(plane) != count or not decoder.eof or decoder.unused_data:
        raise ArtifactError("a group decodes to another size than its constants'", where=where)
    return np.frombuffer(plane, np.uint8)


def aligned(size: int) -> int:
    """``size`` and what fills it up to where the next constant begins."""
    return math.ceil(size / ALIGNMENT) * ALIGNMENT
