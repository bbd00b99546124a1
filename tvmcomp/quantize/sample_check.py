"""The rules by which an array is one or several samples of a network's input."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tvmcomp.errors import CalibrationError
from tvmcomp.model import Signature, TensorSpec


def sample_count(shape: tuple[int, ...], spec: TensorSpec, where: str) -> int:
    """How many samples of ``spec`` an array of ``shape`` holds, one after the other in C order.

    For an input of shape ``(1, C, H, W)`` the array is ``(N, C, H, W)`` or ``(N, 1, C, H, W)``,
    or one sample, ``(C, H, W)``. For a batch B other than 1 it is ``(N * B, C, H, W)`` or
    ``(N, B, C, H, W)``.

    Raises:
        CalibrationError: the shape is none of these.
    """
    wanted = spec.shape
    if shape == wanted:
        return 1
    if len(shape) == len(wanted) + 1 and shape[1:] == wanted:
        return shape[0]
    if wanted and shape[1:] == wanted[1:] and len(shape) == len(wanted):
        if shape[0] % wanted[0] == 0:
            return shape[0] // wanted[0]
    elif wanted and wanted[0] == 1 and shape == wanted[1:]:
        return 1
    raise CalibrationError(
        f"shape {shape} does not fit the input's shape {wanted}",
        where=where,
        hint=f"Give {('N', *wanted)} for N samples.".replace("'", ""),
    )


def check_names(names: Iterable[str], signature: Signature, where: str) -> None:
    """Check that the arrays' names are exactly the inputs'.

    Raises:
        CalibrationError: one is missing or unknown.
    """
    wanted, given = {spec.name for spec in signature.inputs}, set(names)
    missing, unknown = sorted(wanted - given), sorted(given - wanted)
    if not missing and not unknown:
        return
    parts = []
    if missing:
        parts.append(f"no data for input {', '.join(map(repr, missing))}")
    if unknown:
        parts.append(f"no input is called {', '.join(map(repr, unknown))}")
    raise CalibrationError(
        "; ".join(parts),
        where=where,
        hint=f"Name the arrays as the inputs: {', '.join(spec.name for spec in signature.inputs)}.",
    )


def check_dtype(dtype: np.dtype, spec: TensorSpec, where: str) -> None:
    """Check that an array of ``dtype`` may be given for the input.

    Any float width may be given for a float input (it is rounded to the input's), and any
    integer width for an integer input (its values must fit). Integers for a float input are
    refused: they are nearly always pixels that were not normalised.

    Raises:
        CalibrationError: it may not.
    """
    wanted = np.dtype(spec.dtype)
    for kind in (np.floating, np.integer, np.bool_):
        if np.issubdtype(wanted, kind) and np.issubdtype(dtype, kind):
            return
    if dtype.hasobject:
        what = "the array holds Python objects (it would need unpickling, which is not done)"
    else:
        what = f"dtype {dtype} can't be given for the input's {spec.dtype}"
    hint = f"Convert it to {spec.dtype}"
    if np.issubdtype(dtype, np.integer) and np.issubdtype(wanted, np.floating):
        hint += ", normalised just as the network expects it"
    raise CalibrationError(what, where=where, hint=hint + ".")


def convert(values: np.ndarray, spec: TensorSpec, where: str) -> np.ndarray:
    """A copy of one sample's ``values`` in the input's dtype, contiguous.

    Raises:
        CalibrationError: ``values`` holds NaN or Inf, or a value that the dtype does not.
    """
    with np.errstate(over="ignore"):
        sample = np.array(values, np.dtype(spec.dtype), order="C")
    if np.issubdtype(sample.dtype, np.floating):
        bad = sample.size - int(np.count_nonzero(np.isfinite(sample)))
        if bad:
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(sample))[0])
            raise CalibrationError(
                f"{bad} of {sample.size} values are NaN or Inf, the first at {first}",
                where=where,
                hint="Mend the data or leave the sample out.",
            )
    elif sample.dtype != values.dtype and not np.array_equal(sample, values):
        raise CalibrationError(f"values do not fit the input's {spec.dtype}", where=where)
    return sample
