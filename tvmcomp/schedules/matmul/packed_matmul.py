"""Matrix products whose right side is packed at run time, in the order that dot products read.

The right side ``[*batch, depth, columns]`` becomes ``[*batch, columns/lanes, depth/d, lanes, d]``,
by a kernel of its own; the product then is that of constant weights, on the same schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tvmcomp.schedules.anchor import element
from tvmcomp.schedules.bfloat16 import widen
from tvmcomp.schedules.conv.direct_conv import accumulators, in_tile, staged
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

te = tvm.te
tirx = tvm.tirx


@dataclass(frozen=True)
class PackedProduct:
    """``left [*left_batch, rows, depth] x right [*right_batch, depth, columns]``."""

    left_batch: tuple[int, ...]
    right_batch: tuple[int, ...]
    rows: int
    columns: int
    depth: int

    @property
    def batch(self) -> tuple[int, ...]:
        """The batch of the result."""
        return tuple(int(n) for n in np.broadcast_shapes(self.left_batch, self.right_batch))


def pack_right(right: PrimExpr, kernel: DotKernel) -> Any:
    """Pack ``right [*batch, depth, columns]``; what whole vectors reach beyond it is 0.

    Returns:
        A TE tensor ``[*batch, columns/lanes, depth/d, lanes, d]``, ``d`` the kernel's depth.
    """
    *batch, depth, columns = (int(size) for size in right.shape)
    outer, inner = kernel.vectors(columns), -(-depth // kernel.depth)

    def at(*i: PrimExpr) -> Any:
        *b, o, k, lane, step = i
        row, column = k * kernel.depth + step, o * kernel.lanes + lane
        inside = []
        if depth % kernel.depth:
            inside.append(row < depth)
        if columns != outer * kernel.lanes:
            inside.append(column < columns)
        value = element(right, *b, row, column)
        if not inside:
            return value
        return tirx.if_then_else(tirx.all(*inside), value, tirx.const(0, right.dtype))

    return te.compute((*batch, outer, inner, kernel.lanes, kernel.depth), at, name="packed")


def pack_matrices(right: np.ndarray, kernel: DotKernel) -> np.ndarray:
    """What :func:`pack_right` computes, of a constant."""
    *batch, depth, columns = right.shape
    outer, inner = kernel.vectors(columns), -(-depth // kernel.depth)
    whole = np.zeros((*batch, inner * kernel.depth, outer * kernel.lanes), right.dtype)
    whole[..., :depth, :columns] = right
    split = whole.reshape(*batch, inner, kernel.depth, outer, kernel.lanes)
    n = len(batch)
    return np.ascontiguousarray(split.transpose(*range(n), n + 2, n, n + 3, n + 1))


def packed_matmul(left: PrimExpr, packed: Any, product: PackedProduct, kernel: DotKernel) -> Any:
    """The product with what :func:`pack_right` gave.

    Args:
        left: ``[*left_batch, rows', depth']``, with the border that whole blocks read.
        packed: the right side.
        product: the sizes.
        kernel: the dot product.

    Returns:
        A TE tensor ``[*batch, rows, columns]`` of dtype ``kernel.acc``.
    """
    left = staged(left, kernel)
    tap = te.reduce_axis((0, 1), name="k0")
    outer = te.reduce_axis((0, int(packed.shape[-3])), name="ico")
    inner = te.reduce_axis((0, kernel.depth), name="ici")
    whole = (int(left.shape[-2]), int(packed.shape[-4]) * kernel.lanes)

    def value(*i: PrimExpr) -> Any:
        *b, row, column = i
        a = element(left, *_of(b, product.left_batch), row + tap, outer * kernel.depth + inner)
        at = (column // kernel.lanes, outer, column % kernel.lanes, inner)
        w = element(packed, *_of(b, product.right_batch), *at)
        term = widen(a, kernel.data, kernel.acc) * widen(w, kernel.weight, kernel.acc)
        return te.sum(term, axis=[tap, outer, inner])

    wanted = (*product.batch, product.rows, product.columns)
    computed = (*product.batch, *whole)
    result = accumulators(computed, value, kernel, prod(wanted) * product.depth)
    if computed == wanted and kernel.pixels == 1:
        return result
    return te.compute(wanted, lambda *i: element(result, *in_tile(i, kernel)), name="crop")


def _of(index: Sequence[PrimExpr], batch: tuple[int, ...]) -> list[Any]:
    """``index`` of the result's batch, as that of an operand whose batch is broadcast to it."""
    own = list(index)[len(index) - len(batch) :]
    return [tirx.const(0, "int64") if size == 1 else i for i, size in zip(own, batch, strict=True)]
