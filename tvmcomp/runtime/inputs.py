"""Check what a caller gives against what the network takes.

Nothing is cast: a caller who gives another type than the network was built for most likely skipped
a step of the preprocessing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tvmcomp.dtypes import numpy_dtype
from tvmcomp.errors import InputError
from tvmcomp.model import TensorSpec


def check_inputs(inputs: Mapping[str, np.ndarray], specs: Sequence[TensorSpec]) -> list[np.ndarray]:
    """The arrays of ``inputs`` in the order of ``specs``.

    Raises:
        InputError: a name, shape or dtype is not what the network takes.
    """
    check_names(inputs, specs)
    for spec in specs:
        check_array(inputs[spec.name], spec)
    return [inputs[spec.name] for spec in specs]


def check_names(inputs: Mapping[str, np.ndarray], specs: Sequence[TensorSpec]) -> None:
    """Raise InputError where an input is missing, or one is given that there is not."""
    if not isinstance(inputs, Mapping):
        raise InputError(
            f"the inputs are a {type(inputs).__name__}, not a dict of arrays by name",
            hint=f"The network takes: {', '.join(map(describe, specs))}.",
        )
    names = {spec.name for spec in specs}
    parts = [f"input {name!r} is missing" for name in sorted(names - set(inputs))]
    parts += [f"there is no input {name!r}" for name in sorted(set(inputs) - names, key=str)]
    if parts:
        wanted = ", ".join(map(describe, specs))
        raise InputError("; ".join(parts), hint=f"The network takes: {wanted}.")


def check_array(array: np.ndarray, spec: TensorSpec) -> None:
    """Raise InputError where an array is not exactly of the shape and dtype of ``spec``."""
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"input {spec.name!r} is a {type(array).__name__}, not a numpy array",
            hint=f"The network takes {describe(spec)}.",
        )
    if array.shape != spec.shape:
        raise InputError(
            f"input {spec.name!r} has shape {list(array.shape)}, not {list(spec.shape)}",
            hint=f"The network takes {describe(spec)}.",
        )
    if array.dtype != numpy_dtype(spec.dtype):
        raise InputError(
            f"input {spec.name!r} is {array.dtype}, not {spec.dtype}",
            hint=f"Nothing is cast silently; convert it with .astype({spec.dtype!r}).",
        )


def describe(spec: TensorSpec) -> str:
    """``x float32[1, 3, 224, 224]``."""
    return f"{spec.name} {spec.dtype}{list(spec.shape)}"
