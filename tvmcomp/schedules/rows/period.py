"""Where the indices of a stage start over: repeats, tiles and reshapes take remainders of an axis.

    y[i] = x[i // 60, i % 60 // 30, i % 30]

From one multiple of 30 to the next each of these indices grows evenly, or not at all, and a vector
of them is one load; across it a vector would be gathered element by element.
"""

from __future__ import annotations

from math import gcd
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.stages import Axis, Stage, loads, mentions
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Var

tirx = tvm.tirx


def period_of(stage: Stage, axis: Axis) -> int:
    """The longest run of ``axis`` that crosses no multiple of a divisor in the indices of what
    ``stage`` loads; it divides the extent, which it is where there are none."""
    period = axis.extent
    for load in loads(stage.value):
        for index in load.indices:
            for divisor in _divisors(index, axis.var):
                period = gcd(period, divisor)
    return period


def _divisors(index: PrimExpr, var: Var) -> list[int]:
    """What ``index`` divides terms of ``var`` by. Between two multiples of a divisor its quotient
    stays the same: what that is divided by in turn does not count."""
    found: list[int] = []

    def see(node: Any) -> None:
        if isinstance(node.b, tirx.IntImm) and mentions(_without_quotients(node.a), var):
            found.append(int(node.b))

    tvm_ffi.structural_walk(index, ((tirx.FloorMod, see), (tirx.FloorDiv, see)))
    return found


def _without_quotients(expr: PrimExpr) -> Any:
    def zero(node: Any) -> Any:
        return tirx.const(0, node.ty.dtype) if isinstance(node.b, tirx.IntImm) else node

    return tvm_ffi.structural_map(expr, ((tirx.FloorDiv, zero),))
