"""One factor of a matrix product: its elements, and how a line of them is copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tvmcomp.schedules.cuda.instructions import WIDTHS
from tvmcomp.schedules.stages import Axis, Load, mentions, substitute
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx


@dataclass(frozen=True)
class Side:
    """A matrix for each element of a batch.

    Attributes:
        value: the element, in the variables of the axes.
        batch, rows, line: the axes; the elements of a line are multiplied by, or are for,
            neighbours: the depth of a product, or its columns.
        units: axes of extent 1.
        width: bytes of a line that can be copied at once as they are in memory; 0 where elements
            have to be computed, or looked up one by one.
        fill: what elements of a padding are, of a side with a ``width``; None where that is 0.
    """

    value: Any
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    line: tuple[Axis, ...]
    units: tuple[Axis, ...]
    width: int
    fill: Any = None

    @classmethod
    def of(
        cls,
        value: PrimExpr,
        batch: tuple[Axis, ...],
        rows: tuple[Axis, ...],
        line: tuple[Axis, ...],
        units: tuple[Axis, ...],
    ) -> Side:
        """The side whose elements are ``value``."""
        width = _width(value, line)
        padded = width and not isinstance(value, Load)
        fill = value.args[2] if padded and value.args[2].value else None
        return cls(value, batch, rows, line, units, width, fill)

    @property
    def dtype(self) -> str:
        """Of the elements."""
        return str(self.value.ty.dtype)

    @property
    def nbytes(self) -> int:
        """Of an element."""
        return int(tvm.DataType(self.dtype).bits) // 8

    @property
    def gathers(self) -> bool:
        """Whether some of its elements are put together in registers."""
        return not self.width or self.fill is not None

    @property
    def size(self) -> tuple[int, int]:
        """Rows, and elements in a line."""
        return extent(self.rows), extent(self.line)

    def element(self, batch: PrimExpr, row: PrimExpr, at: PrimExpr) -> Any:
        """The element at ``at`` of the line of ``row``."""
        places = ((self.batch, batch), (self.rows, row), (self.line, at))
        known = {var: i for axes, i in places for var, i in indices(axes, i).items()}
        known.update({axis.var: tirx.const(0, axis.var.ty.dtype) for axis in self.units})
        return substitute(self.value, known)

    def source(self, batch: PrimExpr, row: PrimExpr, at: PrimExpr) -> tuple[Any, Any, Any]:
        """Where that element is, of a side with a ``width``: the buffer, the byte in it, and the
        condition under which it is there, and no padding."""
        element = self.element(batch, row, at)
        condition = tirx.const(True, "bool")
        if not isinstance(element, Load):
            condition, element, _ = element.args
        offset: Any = tirx.const(0, "int64")
        for index, size in zip(element.indices, element.source.shape, strict=True):
            offset = offset * int(size) + index.astype("int64")
        return element.source, offset * self.nbytes, condition


def extent(axes: Sequence[Axis]) -> int:
    """How many elements ``axes`` have."""
    return prod(axis.extent for axis in axes)


def indices(axes: Sequence[Axis], at: PrimExpr) -> dict[Any, Any]:
    """The variables of ``axes``, side by side, where the element ``at`` is in row-major order."""
    found: dict[Any, Any] = {}
    inner = 1
    for axis in reversed(axes):
        outer = tirx.floordiv(at, inner) if inner > 1 else at
        first = axis is axes[0]
        found[axis.var] = outer if first else tirx.floormod(outer, axis.extent)
        inner *= axis.extent
    return found


def _width(value: PrimExpr, line: tuple[Axis, ...]) -> int:
    load = value
    if not isinstance(load, Load):
        if not _is_guarded_load(value):
            return 0
        condition, load, _ = value.args
        if mentions(condition, line[-1].var):
            return 0
    *outer, last = load.indices
    along = line[-1]
    if any(mentions(index, along.var) for index in outer):
        return 0
    analyzer = tvm.sym.Analyzer()
    start = analyzer.simplify(last - along.var)
    if mentions(start, along.var):
        return 0
    nbytes = int(tvm.DataType(str(value.ty.dtype)).bits) // 8
    for width in WIDTHS:
        count = width // nbytes
        rest = analyzer.simplify(tirx.floormod(start, count))
        aligned = isinstance(rest, tirx.IntImm) and int(rest) == 0
        if aligned and along.extent % count == 0 and int(load.source.shape[-1]) % count == 0:
            return width
    return 0


def _is_guarded_load(value: PrimExpr) -> bool:
    """Whether ``value`` is ``if_then_else(condition, a load, a constant)``."""
    if not (isinstance(value, tvm.ir.Call) and str(value.op.name) == "prim.if_then_else"):
        return False
    _, load, other = value.args
    return isinstance(load, Load) and isinstance(other, tirx.IntImm | tirx.FloatImm)
