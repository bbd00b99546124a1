"""The constants in an artifact's file: where each lies, or that it is coded.

Constants lie one after the other, each at a multiple of 64, and are used where they lie. With
`--small` those that gain by it are coded instead (:mod:`tvmcomp.artifact.coded`): the stream
follows the others, and stays so until a network's library, which alone can read it, decodes it.

Nothing here is believed: sizes follow from shapes and types.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import msgspec
import numpy as np

from tvmcomp.artifact.archive import ALIGNMENT
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError

#: The offset of a constant that is coded.
CODED = -1


class ConstantSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One constant.

    Attributes:
        name, shape: its own.
        dtype: numpy's name of its type.
        offset: where its bytes lie in ``constants.bin``; -1: it is coded.
        nbytes: its size in memory.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    nbytes: int


class Constants(NamedTuple):
    """A network's constants.

    Attributes:
        arrays: they, in order; None: it is coded.
        coded: the stream of those, uint8; empty where none is.
    """

    arrays: tuple[np.ndarray | None, ...]
    coded: np.ndarray


def plain(arrays: Sequence[np.ndarray]) -> Constants:
    """Arrays of which none is coded."""
    return Constants(tuple(arrays), np.empty(0, np.uint8))


def small(arrays: Sequence[np.ndarray]) -> Constants:
    """Arrays, coded where that makes them smaller; the same for the same arrays.

    Args:
        arrays: C-contiguous, of this machine's byte order, which is little-endian.
    """
    from tvmcomp.artifact.coded import coded  # not above: reading needs none of it

    found = coded(arrays)
    left = (None if i in found.positions else array for i, array in enumerate(arrays))
    return Constants(tuple(left), np.frombuffer(found.data, np.uint8))


def specs_of(
    names: Sequence[str], arrays: Sequence[np.ndarray], constants: Constants
) -> tuple[ConstantSpec, ...]:
    """What the metadata says of constants.

    Args:
        names, arrays: of all of them.
        constants: what was made of ``arrays``.
    """
    specs, end = [], 0
    for name, array, left in zip(names, arrays, constants.arrays, strict=True):
        offset = CODED if left is None else end
        specs.append(ConstantSpec(name, array.shape, str(array.dtype), offset, array.nbytes))
        if left is not None:
            end += _aligned(array.nbytes)
    return tuple(specs)


def pack(constants: Constants) -> bytes:
    """``constants.bin``."""
    parts = []
    for array in constants.arrays:
        if array is not None:
            parts += [array.tobytes(), bytes(-array.nbytes % ALIGNMENT)]
    return b"".join([*parts, constants.coded.tobytes()])


def unpack(specs: Sequence[ConstantSpec], data: np.ndarray, where: str) -> Constants:
    """The constants: views into ``data``, each at a multiple of 64 if ``data`` is.

    Args:
        specs: what the metadata says.
        data: ``constants.bin``, uint8.
        where: names the file in errors.

    Raises:
        ArtifactError: they contradict each other.
    """
    arrays: list[np.ndarray | None] = []
    end = 0
    for spec in specs:
        dtype = _dtype(spec, where)
        is_coded = spec.offset == CODED
        if (
            any(dim < 0 for dim in spec.shape)
            or not (is_coded or spec.offset == end)
            or spec.nbytes != math.prod(spec.shape) * dtype.itemsize
            or (not is_coded and end + spec.nbytes > data.nbytes)
        ):
            _raise_contradiction(spec, data, where)
        if is_coded:
            arrays.append(None)
            continue
        raw = data[end : end + spec.nbytes]
        arrays.append(raw.view(dtype).reshape(spec.shape))
        end += _aligned(spec.nbytes)
    rest = data[end:]
    if bool(rest.nbytes) != any(array is None for array in arrays):
        raise ArtifactError(
            f"constants.bin has {data.nbytes} bytes, its metadata lists {end}", where=where
        )
    return Constants(tuple(arrays), rest)


def _dtype(spec: ConstantSpec, where: str) -> np.dtype:
    try:
        return numpy_dtype(spec.dtype)
    except TypeError:
        raise ArtifactError(
            f"constant {spec.name!r} has an unknown dtype {spec.dtype!r}", where=where
        ) from None


def _raise_contradiction(spec: ConstantSpec, data: np.ndarray, where: str) -> NoReturn:
    raise ArtifactError(
        f"constant {spec.name!r} has a shape, an offset and a size that contradict each "
        f"other or the {data.nbytes} bytes of constants.bin",
        where=where,
    )


def _aligned(size: int) -> int:
    """``size`` and what fills it up to where the next constant begins."""
    return size + -size % ALIGNMENT
