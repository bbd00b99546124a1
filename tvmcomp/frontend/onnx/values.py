"""What our converters ask of a Relax expression: its static shape, its constant value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr


@dataclass(frozen=True)
class TensorSequence:
    """An ONNX sequence whose length is known at build time: the expressions of its tensors."""

    tensors: list[Any]


def shape_of(expr: Expr) -> list[int]:
    """Return the static shape of a tensor expression.

    Raises:
        ValueError: the shape is known at run time only.
    """
    if expr.ty.shape is None:
        raise ValueError("its shape depends on the data; only static shapes can be compiled")
    return [int(dim) for dim in expr.ty.shape]


def dtype_of(expr: Expr) -> str:
    """Return the dtype of a tensor expression, as numpy and ml_dtypes name it."""
    return str(expr.ty.dtype)


def array_of(expr: Expr) -> np.ndarray | None:
    """Return the value of a constant expression, None of any other."""
    if isinstance(expr, tvm.ir.GenericConst):
        return expr.value.numpy()
    return None


def ints_of(expr: Expr, what: str) -> list[int]:
    """Return the integers of a constant tensor.

    Raises:
        ValueError: it is computed at run time; ``what`` says what it is.
    """
    array = array_of(expr)
    if array is None:
        raise ValueError(f"its {what} must be known at build time, not computed by the network")
    return [int(value) for value in array.reshape(-1)]


def constant(array: Any) -> Any:
    """Return an array as a constant of its own dtype; relax.const alone turns int64 into int32."""
    # np.ascontiguousarray would give a scalar a dimension.
    array = np.asarray(array, order="C")
    return tvm.relax.const(array, str(array.dtype))


def constant_like(expr: Expr, value: Expr) -> Any:
    """Return ``value`` as a constant of the dtype of ``expr``."""
    return tvm.relax.const(np.asarray(value), dtype_of(expr))
