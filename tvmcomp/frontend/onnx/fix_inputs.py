"""Make constants of inputs that a network is always run with, as a sample rate.

What follows from them is folded: an ``If`` on one becomes the branch that is taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tvmcomp.errors import ModelError


def fix_inputs(model: onnx.ModelProto, fixed: Mapping[str, NDArray], *, where: str) -> None:
    """Give inputs of ``model`` their values, in place.

    Raises:
        ModelError: there is no such input, or it doesn't take such a value.
    """
    inputs = {value.name: value for value in model.graph.input}
    for name, given in fixed.items():
        if name not in inputs:
            raise ModelError(
                f"has no input {name!r} to fix; its inputs are {', '.join(map(repr, inputs))}",
                where=where,
            )
        value = inputs[name]
        array = _as_taken(value, given, where)
        model.graph.input.remove(value)
        for tensor in [t for t in model.graph.initializer if t.name == name]:
            model.graph.initializer.remove(tensor)  # a default
        model.graph.initializer.append(numpy_helper.from_array(array, name))


def _as_taken(value: onnx.ValueInfoProto, given: NDArray, where: str) -> NDArray:
    """``given`` in the type and shape of the input."""
    kind = value.type.tensor_type
    dims = [dim.dim_value for dim in kind.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type) if kind.elem_type else None
    if dtype is None or dtype.kind not in "biuf":
        raise ModelError(f"input {value.name!r} takes no numbers to fix it to", where=where)
    if given.size == 1 and all(dim in (0, 1) for dim in dims):
        given = given.reshape([1] * len(dims))
    fits = given.ndim == len(dims) and all(
        dim in (0, size) for dim, size in zip(dims, given.shape, strict=True)
    )
    if not fits:
        wanted = [dim.dim_param or dim.dim_value or "?" for dim in kind.shape.dim]
        raise ModelError(
            f"input {value.name!r} has the shape {wanted}, and is fixed to one of "
            f"{list(given.shape)}",
            where=where,
        )
    with np.errstate(all="ignore"):
        array = given.astype(dtype)
    exact = np.array_equal(array.astype(given.dtype), given)
    if not exact and not (dtype.kind == "f" and given.dtype.kind == "f"):
        raise ModelError(
            f"input {value.name!r} is of {dtype}, which {given.tolist()} is not", where=where
        )
    return array
