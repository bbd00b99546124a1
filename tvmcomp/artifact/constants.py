"""The constants in an artifact's file: where each lies, and how those that gain by it are coded.

Constants lie one after the other, each at a multiple of 64, and are used where they lie. That is
all of it where weights have 8 bits: coding saves a tenth of them and costs time at every load.
Weights of 4 bits or fewer lie in int8 for the kernels and take half a byte or less when coded; so
do the high bytes of scales and biases. Where coding makes all together a quarter smaller, the
constants that gain follow the others in *groups*: a large constant is a group of its own, small
ones of one type are one together, without anything between them. A group is written by planes, as
blosc's shuffle has it: the first byte of every element, then every second byte. Each plane is one
zlib stream, or is stored where that is not smaller.

Nothing here is believed: sizes follow from shapes and types, a stream gives exactly as many bytes
as its plane has or is refused, and a digest says what all of it decodes to.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import msgspec
import numpy as np

from tvmcomp.artifact.archive import ALIGNMENT, private_memory
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError

#: Coding must make all constants together, and a group, smaller by these shares.
_LEAST_SAVED, _LEAST_SAVED_OF_GROUP = 1 / 4, 1 / 8
#: Bytes that a group takes in the metadata, about.
_DESCRIPTION = 128
#: Bytes from which a constant is a group of its own: a stream begins with some 70 of its own.
_LARGE = 4096
#: A byte of a zlib stream gives at most so many.
_MOST_FROM_ONE = 1032


class ConstantSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One array of ``constants.bin``.

    Attributes:
        name, shape: its own.
        dtype: numpy's name of its type.
        offset: where its bytes lie, or where its group begins.
        nbytes: its size in memory.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    nbytes: int


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Constants of one size of element that are coded together.

    Attributes:
        constants: their positions, ascending.
        planes: bytes that each plane takes in the file; as many as it has: it is stored.
    """

    constants: tuple[int, ...]
    planes: tuple[int, ...]


class Coding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is coded.

    Attributes:
        groups: in the order in which they lie in the file.
        sha256: of the bytes of all their constants, group after group.
    """

    groups: tuple[Group, ...]
    sha256: str


class Packed(NamedTuple):
    """Constants as the file has them: ``constants.bin`` and what the metadata says of it."""

    data: bytes
    specs: tuple[ConstantSpec, ...]
    coding: Coding | None


def pack(names: Sequence[str], arrays: Sequence[np.ndarray]) -> Packed:
    """Put constants together for the file; the same for the same constants.

    Args:
        names: of ``arrays``.
        arrays: C-contiguous, of this machine's byte order, which is little-endian.
    """
    coded = _coded(arrays)
    grouped = [position for group, _ in coded for position in group.constants]
    parts, offsets, end = [], [0] * len(arrays), 0
    for position, array in enumerate(arrays):
        if position not in grouped:
            offsets[position] = end
            parts += [array.tobytes(), bytes(-array.nbytes % ALIGNMENT)]
            end += _aligned(array.nbytes)
    for group, streams in coded:
        for position in group.constants:
            offsets[position] = end
        parts += streams
        end += sum(group.planes)
    specs = (
        ConstantSpec(name, array.shape, str(array.dtype), offset, array.nbytes)
        for name, array, offset in zip(names, arrays, offsets, strict=True)
    )
    groups = tuple(group for group, _ in coded)
    coding = Coding(groups, _digest([arrays[position] for position in grouped])) if coded else None
    return Packed(b"".join(parts), tuple(specs), coding)


def unpack(
    specs: Sequence[ConstantSpec], coding: Coding | None, data: np.ndarray, where: str
) -> tuple[np.ndarray, ...]:
    """The constants: views into ``data``, or decoded, each at a multiple of 64 if ``data`` is.

    Args:
        specs, coding: what the metadata says.
        data: ``constants.bin``, uint8.
        where: names the file in errors.

    Raises:
        ArtifactError: they contradict each other.
    """
    dtypes = [_dtype(spec, where) for spec in specs]
    groups = coding.groups if coding else ()
    grouped = [position for group in groups for position in group.constants]
    coded = set(grouped)
    if len(coded) != len(grouped) or not coded <= set(range(len(specs))):
        raise ArtifactError("a constant is in two groups, or a group's is none", where=where)
    arrays: dict[int, np.ndarray] = {}
    end = 0
    for position, (spec, dtype) in enumerate(zip(specs, dtypes, strict=True)):
        if position in coded:
            continue
        _check(spec, dtype, end, data, where)
        if end + spec.nbytes > data.nbytes:
            _raise_contradiction(spec, data, where)
        raw = data[end : end + spec.nbytes]
        arrays[position] = raw.view(dtype).reshape(spec.shape)
        end += _aligned(spec.nbytes)
    for group in groups:
        for position in group.constants:
            _check(specs[position], dtypes[position], end, data, where)
        size = sum(group.planes)
        if min(group.planes, default=0) < 0 or end + size > data.nbytes:
            raise ArtifactError(f"a group at {end} reaches past constants.bin", where=where)
        members = [(specs[position], dtypes[position]) for position in group.constants]
        decoded = _decoded(group, members, data[end : end + size], where)
        arrays.update(zip(group.constants, decoded, strict=True))
        end += size
    if end != data.nbytes:
        raise ArtifactError(
            f"constants.bin has {data.nbytes} bytes, its metadata lists {end}", where=where
        )
    if coding and _digest([arrays[position] for position in grouped]) != coding.sha256:
        raise ArtifactError("constants decode to others than were coded", where=where)
    return tuple(arrays[position] for position in range(len(specs)))


def stored_nbytes(specs: Sequence[ConstantSpec], coding: Coding | None) -> int:
    """Bytes that constants take in the file, without what aligns them."""
    groups = coding.groups if coding else ()
    coded = {position for group in groups for position in group.constants}
    plain = sum(spec.nbytes for i, spec in enumerate(specs) if i not in coded)
    return plain + sum(sum(group.planes) for group in groups)


def _coded(arrays: Sequence[np.ndarray]) -> list[tuple[Group, list[bytes]]]:
    """The groups that are coded, with the bytes of their planes; none where it does not pay."""
    together: dict[str, list[int]] = {}
    for position, array in enumerate(arrays):
        if array.nbytes:
            together.setdefault(_family(position, array), []).append(position)
    found, saved = [], 0
    for positions in together.values():
        members = [arrays[position] for position in positions]
        content = b"".join(array.tobytes() for array in members)
        planes = np.frombuffer(content, np.uint8).reshape(-1, members[0].itemsize)
        streams = [_deflated(planes[:, place].tobytes()) for place in range(members[0].itemsize)]
        stored = sum(_aligned(array.nbytes) for array in members)
        gain = stored - sum(map(len, streams)) - _DESCRIPTION
        if gain >= _LEAST_SAVED_OF_GROUP * stored:
            sizes = tuple(map(len, streams))
            found.append((Group(tuple(positions), sizes), streams))
            saved += gain
    whole = sum(_aligned(array.nbytes) for array in arrays)
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


def _decoded(
    group: Group, members: Sequence[tuple[ConstantSpec, np.dtype]], data: np.ndarray, where: str
) -> list[np.ndarray]:
    """The constants of a group, in memory of their own."""
    itemsizes = {dtype.itemsize for _, dtype in members}
    size = sum(spec.nbytes for spec, _ in members)
    if itemsizes != {len(group.planes)} or not size:
        raise ArtifactError("a group's planes are not those of its constants", where=where)
    count = size // len(group.planes)
    if any(count > _MOST_FROM_ONE * plane for plane in group.planes):
        raise ArtifactError("a group gives more than its bytes can hold", where=where)
    begins = [0, *itertools.accumulate(_aligned(spec.nbytes) for spec, _ in members)]
    try:
        memory = np.frombuffer(private_memory(begins[-1]), np.uint8)
    except OSError as error:
        raise ArtifactError(f"can't be decoded: {error.strerror}", where=where) from None
    arrays = [
        memory[begin : begin + spec.nbytes]
        for begin, (spec, _) in zip(begins, members, strict=False)
    ]
    end = 0
    for place, stored in enumerate(group.planes):
        plane = _inflated(data[end : end + stored], count, where)
        end += stored
        done = 0
        for array in arrays:
            elements = array.reshape(-1, len(group.planes))
            elements[:, place] = plane[done : done + len(elements)]
            done += len(elements)
    return [
        array.view(dtype).reshape(spec.shape)
        for array, (spec, dtype) in zip(arrays, members, strict=True)
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


def _digest(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of the arrays' bytes, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _dtype(spec: ConstantSpec, where: str) -> np.dtype:
    try:
        return numpy_dtype(spec.dtype)
    except TypeError:
        raise ArtifactError(
            f"constant {spec.name!r} has an unknown dtype {spec.dtype!r}", where=where
        ) from None


def _check(spec: ConstantSpec, dtype: np.dtype, offset: int, data: np.ndarray, where: str) -> None:
    """Raise ArtifactError where ``spec`` is not one that begins at ``offset``."""
    if (
        any(dim < 0 for dim in spec.shape)
        or spec.offset != offset
        or spec.nbytes != math.prod(spec.shape) * dtype.itemsize
    ):
        _raise_contradiction(spec, data, where)


def _raise_contradiction(spec: ConstantSpec, data: np.ndarray, where: str) -> NoReturn:
    raise ArtifactError(
        f"constant {spec.name!r} has a shape, an offset and a size that contradict each "
        f"other or the {data.nbytes} bytes of constants.bin",
        where=where,
    )


def _aligned(size: int) -> int:
    return math.ceil(size / ALIGNMENT) * ALIGNMENT
