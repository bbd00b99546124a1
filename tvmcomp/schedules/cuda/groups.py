"""The groups of a convolution: its output channels as two axes, the group and the channel in it.

Data is read by group alone, ``data[..., channel // size * depth + k]``: each group is a product of
its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.stages import Axis, mentions, substitute
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

#: Smaller groups would leave most of a tile empty.
_SMALLEST = 16


@dataclass(frozen=True)
class Groups:
    """``axis`` is ``group * size + own``."""

    axis: Axis
    group: Axis
    own: Axis

    def split(self, factor: PrimExpr) -> Any:
        """``factor`` in the two axes."""
        dtype = self.axis.var.ty.dtype
        size = tirx.const(self.own.extent, dtype)
        known = {self.axis.var: self.group.var * size + self.own.var}
        analyzer = tvm.sym.Analyzer()
        for axis in (self.group, self.own):
            domain = tvm.ir.Range(tirx.const(0, dtype), tirx.const(axis.extent, dtype))
            analyzer.bind(axis.var, domain)
        return analyzer.simplify(substitute(factor, known))

    def joined(self, at: dict[Any, Any]) -> dict[Any, Any]:
        """``at``, with the index of ``axis``."""
        index = at[self.group.var] * self.own.extent + at[self.own.var]
        return {**at, self.axis.var: index}


def find_groups(factors: Sequence[PrimExpr], axis: Axis) -> Groups | None:
    """The groups that ``axis`` has, if one of ``factors`` is read by group alone."""
    sizes = {size for factor in factors for size in _divisors(factor, axis)}
    if len(sizes) != 1:
        return None
    (size,) = sizes
    if size < _SMALLEST or axis.extent % size:
        return None
    dtype = axis.var.ty.dtype
    parts = (("group", axis.extent // size), ("own", size))
    group, own = (Axis(tirx.Var(name, dtype), extent) for name, extent in parts)
    found = Groups(axis, group, own)
    of_own = [mentions(found.split(factor), own.var) for factor in factors]
    return found if sum(of_own) == 1 else None


def _divisors(factor: PrimExpr, axis: Axis) -> list[int]:
    found: list[int] = []

    def see(node: Any) -> None:
        if node.a.same_as(axis.var) and isinstance(node.b, tirx.IntImm):
            found.append(int(node.b))

    tvm_ffi.structural_walk(factor, (tirx.FloorDiv, see))
    return found
