"""Names of element types: numpy's, and those that ml_dtypes adds to it."""

from __future__ import annotations

import ml_dtypes
import numpy as np


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype called ``name`` (``float32``, ``bfloat16``, …).

    Raises:
        TypeError: there is none of that name, or it is not a number's.
    """
    extension = getattr(ml_dtypes, name, None)
    dtype = np.dtype(name if extension is None else extension)
    # A name from a file must not make numpy take bytes for pointers to Python objects.
    if dtype.hasobject or (extension is None and dtype.kind not in "biuf"):
        raise TypeError(f"{name!r} is no type of a tensor's elements")
    return dtype
