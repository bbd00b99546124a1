"""The matrix product in a reduction: a convolution's is that of its windows and its weights.

``result[batch, rows, columns] = sum over depth of left[batch, rows, depth] * right[batch, columns,
depth]``, where each of these is the axes of the reduction that are in both, in one, or in none of
the factors, side by side. A convolution's rows are its images and pixels, its depth the window and
the input channels: nothing is copied to make the matrix, the elements are read where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from tvmcomp.schedules.cuda.fused import Fused
from tvmcomp.schedules.cuda.groups import Groups, find_groups
from tvmcomp.schedules.cuda.kernel import number
from tvmcomp.schedules.cuda.side import Side, indices
from tvmcomp.schedules.cuda.tensor_cores import MULTIPLIED
from tvmcomp.schedules.stages import Axis, Stage, advances, loads, mentions
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

#: With up to 16 blocks for each, a grid's last dimension has no room for more.
_MOST_BATCHES = 4095


@dataclass(frozen=True)
class Product:
    """A matrix product, and what becomes of it.

    Attributes:
        fused: the function.
        batch, rows, columns, depth: the axes.
        left, right: the factors. The lines of the right one are its columns where it lies so that
            these are contiguous, and its elements have 16 bits.
        groups: of a convolution that has some; they are part of the batch.
    """

    fused: Fused
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    depth: tuple[Axis, ...]
    left: Side
    right: Side
    groups: Groups | None = None

    def place(self, batch: PrimExpr, row: PrimExpr, column: PrimExpr) -> dict[Any, Any]:
        """The indices of the reduction's axes at an element of the result."""
        at = {
            **indices(self.batch, batch),
            **indices(self.rows, row),
            **indices(self.columns, column),
        }
        units = [axis for axis in self.fused.anchor.dims if axis.extent == 1]
        at.update({axis.var: number(0) for axis in units})
        return self.groups.joined(at) if self.groups else at

    @property
    def kind(self) -> str:
        """The class of its kernel."""
        if len(self.depth) > 1:
            return "conv"
        return "batched_gemm" if self.batch else "gemm"

    @property
    def sums(self) -> str:
        """The type of the sums."""
        return MULTIPLIED[self.dtypes][3]

    @property
    def dtypes(self) -> tuple[str, str]:
        """Types of the factors."""
        return self.left.dtype, self.right.dtype

    @property
    def across(self) -> bool:
        """Whether the right side's lines are its columns."""
        return self.right.line is self.columns

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Of batch, rows, columns and depth."""
        each = (self.batch, self.rows, self.columns, self.depth)
        batch, rows, columns, depth = (prod(axis.extent for axis in axes) for axes in each)
        return batch, rows, columns, depth


def find_product(fused: Fused, capability: int) -> Product | None:
    """The product in ``fused`` that a GPU of ``capability`` (75 for 7.5) multiplies with its tensor
    cores, or None."""
    anchor = fused.anchor
    factors = _factors(anchor, capability)
    if factors is None:
        return None
    long = [axis for axis in anchor.dims if axis.extent > 1]
    if not long:
        return None
    groups = None
    if all(mentions(factor, long[-1].var) for factor in factors):
        groups = find_groups(factors, long[-1])
        if groups is None:
            return None
        factors = [groups.split(factor) for factor in factors]
        long = [*long[:-1], groups.group, groups.own]
    right = [factor for factor in factors if mentions(factor, long[-1].var)]
    if len(right) != 1:
        return None
    left = next(factor for factor in factors if factor is not right[0])
    kinds: dict[tuple[bool, bool], list[Axis]] = {}
    for axis in long:
        kind = mentions(left, axis.var), mentions(right[0], axis.var)
        kinds.setdefault(kind, []).append(axis)
    batches = prod(axis.extent for axis in kinds.get((True, True), ()))
    if (False, False) in kinds or batches > _MOST_BATCHES:
        return None
    batch, rows, columns = (
        tuple(kinds.get(kind, ())) for kind in ((True, True), (True, False), (False, True))
    )
    depth = _depth(anchor, left)
    if prod(axis.extent for axis in depth) == 1:
        return None
    units = tuple(axis for axis in (*anchor.dims, *anchor.reduced) if axis.extent == 1)
    lefts = Side.of(left, batch, rows, depth, units)
    rights = Side.of(right[0], batch, columns, depth, units)
    if rights.width == 0 and rights.nbytes == 2:
        across = Side.of(right[0], batch, depth, columns, units)
        rights = across if across.width else rights
    return Product(fused, batch, rows, columns, depth, lefts, rights, groups)


def multiplies_matrices(anchor: Stage) -> bool:
    """Whether ``anchor`` is a product along one axis: where it is none for our kernels, TVM's own
    rules cut it better than those of windows and rows."""
    if not isinstance(anchor.value, tirx.Mul):
        return False
    factors = anchor.value.a, anchor.value.b
    long = [axis for axis in anchor.dims if axis.extent > 1]
    kinds = {tuple(mentions(factor, axis.var) for factor in factors) for axis in long}
    along = [axis for axis in anchor.reduced if axis.extent > 1]
    return len(along) == 1 and {(True, False), (False, True)} <= kinds


def _factors(anchor: Stage, capability: int) -> list[Any] | None:
    """The two that ``anchor`` multiplies and adds up, as they are before they are widened."""
    adds = anchor.combine is not None and isinstance(_combined(anchor), tirx.Add)
    starts_at_zero = isinstance(anchor.init, tirx.IntImm | tirx.FloatImm) and not anchor.init.value
    if not (adds and starts_at_zero and isinstance(anchor.value, tirx.Mul)):
        return None
    factors = [_narrow(anchor.value.a), _narrow(anchor.value.b)]
    first, second = (str(factor.ty.dtype) for factor in factors)
    total = MULTIPLIED.get((first, second), (None,) * 4)[3]
    own = str(anchor.value.ty.dtype)
    if total is None or (capability < 80 and first in ("bfloat16", "float32")):
        return None
    return factors if own in (total, first) and (total == own or total == "float32") else None


def _combined(anchor: Stage) -> Any:
    assert anchor.combine is not None
    return anchor.combine(anchor.value, anchor.value)


def _narrow(value: PrimExpr) -> Any:
    return value.value if isinstance(value, tirx.Cast) else value


def _depth(anchor: Stage, left: PrimExpr) -> tuple[Axis, ...]:
    """The reduced axes, last the one that is contiguous in the left factor."""
    axes = [axis for axis in anchor.reduced if axis.extent > 1]
    for load in loads(left):
        for axis in axes:
            if load.indices and advances(load.indices[-1], axis.var):
                return (*(other for other in axes if other is not axis), axis)
    return tuple(axes)
