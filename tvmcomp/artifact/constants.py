"""The constants in an artifact's file: where each lies, and how those that gain by it are coded.

Constants lie one after the other, each at a multiple of 64, and are used where they lie. That is
all of it where weights have 8 bits: coding saves a tenth of them and costs time at every load.
Weights of 4 bits or fewer lie in int8 for the kernels and take half a byte or less when coded; so
do the high bytes of scales and biases. Where coding makes all together a quarter smaller, the
constants that gain follow the others in *groups*: a large constant is a group of its own, small
ones of one type are one together, without anything between them. A group is written by planes, as
blosc's shuffle has it: the first byte of every element, then every second byte. Each plane is one
zlib stream, or is stored where that is not smaller. A group whose elements take few values is
written as a code book, which lies in front, and one plane of indices, where that is smaller.

Nothing here is believed: sizes follow from shapes and types, a stream gives exactly as many bytes
as its plane has or is refused, and a digest says what all of it decodes to.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import msgspec
import numpy as np

from tvmcomp.artifact.archive import ALIGNMENT
from tvmcomp.artifact.groups import Group, Member, aligned, coded, decoded
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError


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
    found = coded(arrays)
    grouped = [position for group, _ in found for position in group.constants]
    parts, offsets, end = [], [0] * len(arrays), 0
    for position, array in enumerate(arrays):
        if position not in grouped:
            offsets[position] = end
            parts += [array.tobytes(), bytes(-array.nbytes % ALIGNMENT)]
            end += aligned(array.nbytes)
    for group, streams in found:
        for position in group.constants:
            offsets[position] = end
        parts += streams
        end += group.nbytes
    specs = (
        ConstantSpec(name, array.shape, str(array.dtype), offset, array.nbytes)
        for name, array, offset in zip(names, arrays, offsets, strict=True)
    )
    groups = tuple(group for group, _ in found)
    coding = Coding(groups, _digest([arrays[position] for position in grouped])) if found else None
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
    in_groups = set(grouped)
    if len(in_groups) != len(grouped) or not in_groups <= set(range(len(specs))):
        raise ArtifactError("a constant is in two groups, or a group's is none", where=where)
    arrays: dict[int, np.ndarray] = {}
    end = 0
    for position, (spec, dtype) in enumerate(zip(specs, dtypes, strict=True)):
        if position in in_groups:
            continue
        _check(spec, dtype, end, data, where)
        if end + spec.nbytes > data.nbytes:
            _raise_contradiction(spec, data, where)
        raw = data[end : end + spec.nbytes]
        arrays[position] = raw.view(dtype).reshape(spec.shape)
        end += aligned(spec.nbytes)
    for group in groups:
        for position in group.constants:
            _check(specs[position], dtypes[position], end, data, where)
        size = group.nbytes
        if min(group.entries, group.itemsize, *group.planes, 0) < 0 or end + size > data.nbytes:
            raise ArtifactError(f"a group at {end} reaches past constants.bin", where=where)
        members = [
            Member(specs[position].nbytes, dtypes[position], specs[position].shape)
            for position in group.constants
        ]
        made = decoded(group, members, data[end : end + size], where)
        arrays.update(zip(group.constants, made, strict=True))
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
    grouped = {position for group in groups for position in group.constants}
    plain = sum(spec.nbytes for i, spec in enumerate(specs) if i not in grouped)
    return plain + sum(group.nbytes for group in groups)


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
