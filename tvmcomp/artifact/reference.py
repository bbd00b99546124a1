"""Reference inputs and outputs: what an artifact must give, kept with it, and how closely it does.

In the artifact they are ``golden.npz``, the name that every version reads.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from tvmcomp.dtypes import is_numpys_own, numpy_dtype
from tvmcomp.errors import ArtifactError
from tvmcomp.model import Signature, TensorSpec
from tvmcomp.npy_header import read_header

#: Bytes of a name that a zip file can carry are twice this, and some readers stop earlier.
_NAME_LIMIT = 1 << 15


class Reference(msgspec.Struct, frozen=True, eq=False):
    """Arrays by name that match the signature's inputs and outputs."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


class Agreement(msgspec.Struct, frozen=True):
    """How closely one output repeats its reference array.

    Attributes:
        output: its name.
        max_difference: largest absolute difference, as a share of the reference array's range.
        within: share of the elements that are within the tolerance.
        tolerance: as a share of the range; see :data:`TOLERANCE`.
        agrees: at least 99.9% are within.
    """

    output: str
    max_difference: float
    within: float
    tolerance: float
    agrees: bool


#: By the artifact's precision, as a share of the output's range. Another CPU adds up floats in
#: another order; an 8-bit value near the middle between two steps (0.4% apart) then takes the
#: other one. It may not compute something else.
TOLERANCE = {"none": 1e-4, "fp16": 5e-3, "bf16": 2e-2, "int8": 1e-2, "dynamic": 1e-2}
#: Share of the elements that must be within it.
ENOUGH = 0.999


def compare(outputs: Mapping[str, np.ndarray], reference: Reference, quant: str) -> list[Agreement]:
    """Compare ``outputs`` with the reference ones, output by output.

    Args:
        outputs: arrays by name, of the reference arrays' shapes.
        reference: what they should be.
        quant: the artifact's precision; a key of :data:`TOLERANCE`.
    """
    tolerance = TOLERANCE[quant]
    found = []
    for name, wanted in reference.outputs.items():
        difference = _difference(outputs[name], wanted)
        within = float(np.mean(difference <= tolerance)) if wanted.size else 1.0
        largest = float(np.max(difference)) if wanted.size else 0.0
        found.append(Agreement(name, largest, within, tolerance, agrees=within >= ENOUGH))
    return found


def _difference(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Absolute difference of each element as a share of the range of ``wanted``."""
    given, wanted = given.astype(np.float64), wanted.astype(np.float64)
    finite = wanted[np.isfinite(wanted)]
    span = max(np.ptp(finite), np.max(np.abs(finite)), 1e-12) if finite.size else 1.0
    same = (given == wanted) | (np.isnan(given) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.abs(given - wanted) / span)


def canonical(reference: Reference, signature: Signature) -> Reference:
    """The same values as contiguous arrays of exactly the signature's names, shapes and dtypes.

    Raises:
        ArtifactError: an array is missing, too many, or of another shape or type.
    """
    return Reference(
        _canonical(reference.inputs, signature.inputs, "input"),
        _canonical(reference.outputs, signature.outputs, "output"),
    )


def encode_reference(reference: Reference, signature: Signature) -> bytes:
    """Pack as an ``.npz``; dtypes that numpy's format doesn't know go as bytes.

    Args:
        reference: canonical arrays.
        signature: theirs.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for key, (spec, array) in _keyed(signature, reference).items():
            plain = is_numpys_own(numpy_dtype(spec.dtype))
            written = array if plain else np.frombuffer(array.tobytes(), np.uint8)
            # A fixed date keeps the file the same for the same content.
            info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, written, allow_pickle=False)
    return buffer.getvalue()


def decode_reference(data: bytes, signature: Signature, *, where: str) -> Reference:
    """Unpack and check against ``signature``.

    Raises:
        ArtifactError: an array is missing, or has another size than the signature says.
    """
    places = {
        f"{_key(kind, position, spec.name)}.npy": (kind, spec)
        for kind, specs in _kinds(signature)
        for position, spec in enumerate(specs)
    }
    found: dict[str, dict[str, np.ndarray]] = {kind: {} for kind, _ in _kinds(signature)}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sorted(archive.namelist()) != sorted(places):
                raise ArtifactError(
                    "golden.npz does not hold the arrays of the signature", where=where
                )
            for name, (kind, spec) in places.items():
                found[kind][spec.name] = _read_array(archive, name, spec)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, TypeError) as error:
        raise ArtifactError(f"golden.npz can't be read: {error}", where=where) from None
    return Reference(**found)


def _canonical(
    arrays: Mapping[str, np.ndarray], specs: Sequence[TensorSpec], kind: str
) -> dict[str, np.ndarray]:
    if set(arrays) != {spec.name for spec in specs}:
        raise ArtifactError(
            f"the reference {kind}s are {sorted(arrays)}, the signature's "
            f"{sorted(spec.name for spec in specs)}"
        )
    exact = {}
    for spec in specs:
        array = np.asarray(arrays[spec.name])
        dtype = numpy_dtype(spec.dtype)
        if array.shape != spec.shape or array.dtype.newbyteorder("=") != dtype:
            raise ArtifactError(
                f"the reference {kind} {spec.name!r} is {array.dtype}{list(array.shape)}, "
                f"its signature says {spec.dtype}{list(spec.shape)}"
            )
        exact[spec.name] = array.astype(dtype, order="C", copy=False)
    return exact


def _kinds(signature: Signature) -> tuple[tuple[str, Sequence[TensorSpec]], ...]:
    return ("inputs", signature.inputs), ("outputs", signature.outputs)


def _keyed(signature: Signature, reference: Reference) -> dict[str, tuple[TensorSpec, np.ndarray]]:
    return {
        _key(kind, position, spec.name): (spec, getattr(reference, kind)[spec.name])
        for kind, specs in _kinds(signature)
        for position, spec in enumerate(specs)
    }


def _key(kind: str, position: int, name: str) -> str:
    """Where an array lies: under its name, or under its place where a zip can't hold that name."""
    if "\0" in name or len(name.encode()) > _NAME_LIMIT:
        return f"{kind}[{position}]"
    return f"{kind}/{name}"


def _read_array(archive: zipfile.ZipFile, name: str, spec: TensorSpec) -> np.ndarray:
    dtype = numpy_dtype(spec.dtype)
    nbytes = math.prod(spec.shape) * dtype.itemsize
    # What carries an array of a dtype that numpy's format doesn't know.
    carried = is_numpys_own(dtype)
    wanted = (spec.shape, dtype) if carried else ((nbytes,), np.dtype(np.uint8))
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{name} is compressed or encrypted")
    with archive.open(info) as member:
        shape, fortran_order, found = read_header(member)
        if (shape, found) != wanted:
            raise ValueError(
                f"{name} is {found}{list(shape)}, its signature says {spec.dtype}{list(spec.shape)}"
            )
        data = member.read(nbytes + 1)
    if len(data) != nbytes:
        raise ValueError(f"{name} does not hold the {nbytes} bytes that its signature says")
    array = np.frombuffer(bytearray(data), dtype)
    return array.reshape(spec.shape, order="F" if fortran_order and carried else "C")
