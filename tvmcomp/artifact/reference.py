"""Reference inputs and outputs: what an artifact must give, kept with it, and how closely it does.

In the artifact they are ``golden.npz``, the name that every version reads.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import ArtifactError
from tvmcomp.model import Signature, TensorSpec

#: An .npy header is far smaller than this.
_NPY_HEADER_LIMIT = 4096


@dataclass(frozen=True)
class Reference:
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
TOLERANCE = {"none": 1e-4, "fp16": 5e-3, "bf16": 2e-2, "int8": 1e-2}
_ENOUGH = 0.999


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
        found.append(Agreement(name, largest, within, tolerance, agrees=within >= _ENOUGH))
    return found


def _difference(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Absolute difference of each element as a share of the range of ``wanted``."""
    given, wanted = given.astype(np.float64), wanted.astype(np.float64)
    finite = wanted[np.isfinite(wanted)]
    span = max(np.ptp(finite), np.max(np.abs(finite)), 1e-12) if finite.size else 1.0
    same = (given == wanted) | (np.isnan(given) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.abs(given - wanted) / span)


def encode_reference(reference: Reference) -> bytes:
    """Pack as an ``.npz``; dtypes that numpy's format doesn't know go as bytes."""
    arrays = {f"inputs/{name}": _as_bytes(array) for name, array in reference.inputs.items()}
    arrays |= {f"outputs/{name}": _as_bytes(array) for name, array in reference.outputs.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def decode_reference(data: bytes, signature: Signature, *, where: str) -> Reference:
    """Unpack and check against ``signature``.

    Raises:
        ArtifactError: an array is missing, or has another size than the signature says.
    """
    wanted = {f"inputs/{spec.name}": spec for spec in signature.inputs}
    wanted |= {f"outputs/{spec.name}": spec for spec in signature.outputs}
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sorted(archive.namelist()) != sorted(f"{key}.npy" for key in wanted):
                raise ArtifactError(
                    "golden.npz does not hold the arrays of the signature", where=where
                )
            for key, spec in wanted.items():
                arrays[key] = _read_array(archive, key, spec)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, TypeError) as error:
        raise ArtifactError(f"golden.npz can't be read: {error}", where=where) from None
    return Reference(
        inputs={spec.name: arrays[f"inputs/{spec.name}"] for spec in signature.inputs},
        outputs={spec.name: arrays[f"outputs/{spec.name}"] for spec in signature.outputs},
    )


def _as_bytes(array: np.ndarray) -> np.ndarray:
    if array.dtype.isbuiltin == 1:
        return array
    return np.frombuffer(array.tobytes(), np.uint8)


def _read_array(archive: zipfile.ZipFile, key: str, spec: TensorSpec) -> np.ndarray:
    dtype = numpy_dtype(spec.dtype)
    nbytes = math.prod(spec.shape) * dtype.itemsize
    info = archive.getinfo(f"{key}.npy")
    if info.file_size > nbytes + _NPY_HEADER_LIMIT:
        raise ValueError(f"{key} takes {info.file_size} bytes, its signature says {nbytes}")
    with archive.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
    if dtype.isbuiltin != 1:
        array = np.frombuffer(array.tobytes(), dtype).reshape(spec.shape)
    if array.shape != spec.shape or array.dtype != dtype:
        raise ValueError(
            f"{key} is {array.dtype}{list(array.shape)}, "
            f"its signature says {spec.dtype}{list(spec.shape)}"
        )
    return array
