"""Do two kernels compute the same? Random data for both, and what counts as equal."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from tvmcomp.tuning.log.record import Argument

#: Sums in another order differ by rounding: so much of the largest value, by bits of the type.
_TOLERANCE = {64: 1e-9, 32: 1e-4, 16: 2e-2}


def random_array(argument: Argument, seed: int) -> np.ndarray:
    """Random data for one tensor of a kernel.

    Small integers are of their whole range. Large ones, which may be indices, stay small: an index
    that is out of range would end the process. uint16 holds the bits of bfloat16 numbers, as our
    kernels do.
    """
    rng = np.random.default_rng(seed)
    dtype = np.dtype(getattr(ml_dtypes, argument.dtype, argument.dtype))
    if dtype.kind == "b" or argument.dtype == "bool":
        return rng.integers(0, 2, argument.shape).astype(dtype)
    if dtype == np.uint16:
        numbers = rng.uniform(-1.0, 1.0, argument.shape).astype(ml_dtypes.bfloat16)
        return numbers.view(np.uint16)
    if dtype.kind in "iu":
        low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.itemsize < 4 else (0, 1)
        return rng.integers(low, high, argument.shape, dtype=dtype, endpoint=True)
    return (2.0 * rng.random(argument.shape, np.float32) - 1.0).astype(dtype)


def difference(results: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> str:
    """How the arrays differ, in words; "" where they are the same.

    Integers may differ by one step, where a rounding fell the other way; uint16 may be the bits of
    bfloat16 numbers.
    """
    for index, (result, reference) in enumerate(zip(results, wanted, strict=True)):
        if np.array_equal(result, reference):
            continue
        same = _same(result, reference)
        if not same.all() and reference.dtype == np.uint16:
            same = _same(*(array.view(ml_dtypes.bfloat16) for array in (result, reference)))
        if not same.all():
            share = 100 * (1 - same.mean())
            return f"tensor {index} differs from the unscheduled kernel's in {share:.2g}%"
    return ""


def _same(result: np.ndarray, reference: np.ndarray) -> np.ndarray:
    bits = 8 * reference.dtype.itemsize
    if reference.dtype.kind in "biu":
        allowed = 1.0 if reference.dtype.kind != "b" and bits < 32 else 0.0
    else:
        allowed = _TOLERANCE[bits] * _largest(reference)
    a, b = result.astype(np.float64), reference.astype(np.float64)
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= allowed))


def _largest(array: np.ndarray) -> float:
    finite = np.abs(array.astype(np.float64))
    finite = finite[np.isfinite(finite)]
    return float(finite.max()) if finite.size else 1.0
