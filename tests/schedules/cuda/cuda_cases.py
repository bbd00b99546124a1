"""Functions that the CUDA schedules are tested on, as the network's passes make them, and numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from gpu_on_cpu import run_on_cpu

from tvmcomp import targets
from tvmcomp.schedules.blocking import analytic
from tvmcomp.schedules.cuda import schedule_kernel
from tvmcomp.tvm_import import tvm

te, topi, tirx = tvm.te, tvm.topi, tvm.tirx

#: How sums of each type are compared: float16 products are exact in float32, their order is not.
TOLERANCE = 2e-3


def random(shape: Sequence[int], dtype: str, seed: int) -> np.ndarray:
    """Numbers of ``dtype``: of all integers, or floats of a normal distribution."""
    rng = np.random.default_rng(seed)
    shape = [int(n) for n in shape]
    if dtype in ("int8", "uint8", "int32"):
        limits = np.iinfo(dtype if dtype != "int32" else "int16")
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    as_type: Any = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return rng.standard_normal(shape).astype(as_type)


class Answers:
    """A :class:`~tvmcomp.schedules.blocking.Decide` that answers some choices."""

    def __init__(self, **answers: int) -> None:
        self.answers = answers

    def __call__(self, sch: Any, name: str, candidates: Sequence[int], best_guess: int) -> int:
        return self.answers.get(name, best_guess)


def computed(
    tensors: Sequence[Any],
    arrays: Sequence[np.ndarray],
    target: str = "h100",
    decide: Any = analytic,
    kind: str | None = None,
) -> np.ndarray:
    """What the kernel of the TE ``tensors`` (inputs and the result) gives for ``arrays``."""
    func = te.create_prim_func(list(tensors))
    description = targets.load(target)
    found = schedule_kernel(func, description, decide)
    assert found is not None
    assert kind in (None, found[0])
    shape = [int(n) for n in tensors[-1].shape]
    dtype: Any = str(tensors[-1].dtype)
    result = np.zeros(shape, ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    run_on_cpu(found[1], description, [*arrays, result])
    return result


def matmul(
    batch: tuple[int, ...],
    rows: int,
    columns: int,
    depth: int,
    dtype: str,
    by_column: bool,
    epilogue: Callable[[Any], Any] | None = None,
) -> list[Any]:
    """``left [batch, rows, depth]`` times ``right [depth, columns]``, or ``[columns, depth]``."""
    total = "int32" if "int" in dtype else "float32"
    left = te.placeholder((*batch, rows, depth), dtype, name="left")
    shape = (columns, depth) if by_column else (depth, columns)
    right = te.placeholder((*batch, *shape), dtype, name="right")
    k = te.reduce_axis((0, depth), name="k")

    def value(*i: Any) -> Any:
        *b, row, column = i
        at = (column, k) if by_column else (k, column)
        return te.sum(left[(*b, row, k)].astype(total) * right[(*b, *at)].astype(total), axis=k)

    product = te.compute((*batch, rows, columns), value, name="matmul")
    return [left, right, product if epilogue is None else epilogue(product)]


def product_of(left: np.ndarray, right: np.ndarray, by_column: bool) -> np.ndarray:
    """The same in numpy."""
    wide: Any = np.int64 if left.dtype.kind in "iu" else np.float64
    other = np.swapaxes(right, -1, -2) if by_column else right
    return np.asarray(left.astype(wide) @ other.astype(wide))


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal, or for floats nearly so."""
    if found.dtype.kind in "iu":
        np.testing.assert_array_equal(found, expected)
    else:
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(found.astype(np.float64), expected, atol=TOLERANCE * scale)


def convolution(
    shape: tuple[int, ...],
    out_channels: int,
    kernel: tuple[int, int],
    dtype: str,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    layout: str = "OHWI",
    border: int | None = None,
) -> list[Any]:
    """A convolution of NHWC data; ``border``: padded with that value, in a stage of its own."""
    total = "int32" if "int" in dtype else "float32"
    data = te.placeholder(shape, dtype, name="data")
    sizes = dict(zip("OHWI", (out_channels, *kernel, shape[-1] // groups), strict=True))
    weight = te.placeholder([sizes[axis] for axis in layout], dtype, name="weight")
    whole, left = data, list(padding)
    if border is not None:
        top, start, bottom, end = padding
        fill = tirx.const(border, dtype)
        whole = topi.nn.pad(data, [0, top, start, 0], [0, bottom, end, 0], fill)
        left = [0, 0, 0, 0]
    conv = topi.nn.conv(
        whole, weight, list(strides), left, list(dilation), groups, "NHWC", layout, total
    )
    return [data, weight, conv]


def convolved(
    data: np.ndarray,
    weight: np.ndarray,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    border: int | None = None,
) -> np.ndarray:
    """The same in numpy, of weights OHWI."""
    wide: Any = np.int64 if data.dtype.kind in "iu" else np.float64
    top, start, bottom, end = padding
    widths = ((0, 0), (top, bottom), (start, end), (0, 0))
    x = np.pad(data.astype(wide), widths, constant_values=border or 0)
    out, high, wide_kernel, depth = weight.shape
    steps = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip(x.shape[1:3], weight.shape[1:3], dilation, strides, strict=True)
    ]
    result = np.zeros((len(x), *steps, out), wide)
    each = out // groups
    for o in range(out):
        group = o // each
        for i in range(high):
            for j in range(wide_kernel):
                rows = slice(i * dilation[0], i * dilation[0] + steps[0] * strides[0], strides[0])
                line = slice(j * dilation[1], j * dilation[1] + steps[1] * strides[1], strides[1])
                part = x[:, rows, line, group * depth : (group + 1) * depth]
                result[..., o] += part @ weight[o, i, j].astype(wide)
    return result
