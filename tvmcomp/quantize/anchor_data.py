"""An anchor as a product of matrices: its weight [G, O, K], and rows of its data [G, R, K].

G are the groups of a convolution (1 of all else), O the outputs of each, K what one of them sums
over. A row is what one output position of a convolution sees, or one row of a product's left side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.passes.rewriter import op_name, shape_of
from tvmcomp.tvm_types import Call


def groups_of(call: Call) -> int:
    """The groups of an anchor."""
    return 1 if op_name(call) == "matmul" else int(call.attrs.groups)


def to_matrices(call: Call, weight: np.ndarray) -> np.ndarray:
    """The weight ``[O, *kernel, I]`` or ``[K, N]`` of an anchor, or its codes, as [G, O, K]."""
    if op_name(call) == "matmul":
        return weight.T[None]
    groups = groups_of(call)
    return weight.reshape(groups, len(weight) // groups, -1)


def from_matrices(call: Call, matrices: np.ndarray) -> np.ndarray:
    """The inverse of :func:`to_matrices`."""
    if op_name(call) == "matmul":
        return np.ascontiguousarray(matrices[0].T)
    return matrices.reshape(shape_of(call.args[1]))


def row_count(call: Call, data: np.ndarray) -> int:
    """How many rows ``data``, an anchor's input, has."""
    if op_name(call) == "matmul":
        return data.size // data.shape[-1]
    return int(np.prod(_positions(call, data.shape)))


def rows_of(call: Call, data: np.ndarray, zero: float, chosen: np.ndarray) -> np.ndarray:
    """Rows of an anchor's input.

    Args:
        call: the anchor.
        data: its input, channels last.
        zero: what padding holds.
        chosen: indices of rows, below :func:`row_count`.

    Returns:
        [G, R, K], of the type of ``data``.
    """
    if op_name(call) == "matmul":
        return data.reshape(-1, data.shape[-1])[chosen][None]
    attrs = call.attrs
    kernel = shape_of(call.args[1])[1:-1]
    rank = len(kernel)
    flat = [int(p) for p in attrs.padding]
    sample, *place = np.unravel_index(chosen, _positions(call, data.shape))
    index = [sample.reshape(-1, *[1] * rank)]
    outside: Any = False
    for axis in range(rank):
        offsets = np.arange(kernel[axis]) * int(attrs.dilation[axis]) - flat[axis]
        shape = [1] * rank
        shape[axis] = -1
        start = place[axis] * int(attrs.strides[axis])
        at = start.reshape(-1, *[1] * rank) + offsets.reshape(1, *shape)
        last = data.shape[1 + axis] - 1
        outside = outside | (at < 0) | (at > last)
        index.append(at.clip(0, last))
    found = data[tuple(index)]  # [R, *kernel, channels]
    found[outside] = zero
    groups = groups_of(call)
    apart = found.reshape(len(chosen), -1, groups, data.shape[-1] // groups)
    return np.ascontiguousarray(apart.transpose(2, 0, 1, 3)).reshape(groups, len(chosen), -1)


def _positions(call: Call, data: tuple[int, ...]) -> tuple[int, ...]:
    """The samples and the spatial extent of a convolution's result."""
    attrs = call.attrs
    kernel = shape_of(call.args[1])[1:-1]
    flat = [int(p) for p in attrs.padding]
    rank = len(kernel)
    extent = []
    for axis in range(rank):
        reach = (kernel[axis] - 1) * int(attrs.dilation[axis]) + 1
        room = data[1 + axis] + flat[axis] + flat[axis + rank] - reach
        extent.append(room // int(attrs.strides[axis]) + 1)
    return (data[0], *extent)
