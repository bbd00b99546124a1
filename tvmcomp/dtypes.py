"""Names of element types: numpy's, and those that ml_dtypes adds to it."""

from __future__ import annotations

import numpy as np

#: What :mod:`ml_dtypes` is not asked for.
_NUMPYS_OWN = {"bool", "float16", "float32", "float64"} | {
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}
#: Numpy numbers its own types from 0, and those that others register with it from here.
_FIRST_REGISTERED = 256


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype called ``name`` (``float32``, ``bfloat16``, …).

    Raises:
        TypeError: there is none of that name, or it is not a number's.
    """
    extension = None
    if name not in _NUMPYS_OWN:
        import ml_dtypes  # late: most networks need none of it

        extension = getattr(ml_dtypes, name, None)
    dtype = np.dtype(name if extension is None else extension)
    # A name from a file must not make numpy take bytes for pointers to Python objects.
    if dtype.hasobject or (extension is None and dtype.kind not in "biuf"):
        raise TypeError(f"{name!r} is no type of a tensor's elements")
    return dtype


def is_numpys_own(dtype: np.dtype) -> bool:
    """Whether numpy itself has this type of number, in this machine's byte order.

    ``dtype.isbuiltin`` says something else: whether ``dtype`` is numpy's one object for the type.
    That of an unpickled array is another, and equal.
    """
    return dtype.kind in "biuf" and dtype.isnative and 0 <= dtype.num < _FIRST_REGISTERED
