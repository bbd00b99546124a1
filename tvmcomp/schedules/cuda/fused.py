"""A fused PrimFunc as its one reduction and what follows from that, everything else inlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.stages import Axis, Load, Stage, loads, substitute
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr

tirx = tvm.tirx


@dataclass(frozen=True)
class Fused:
    """``sums = reduction``, then ``result = f(sums, ...)``, element by element.

    Attributes:
        anchor: the reduction, its operands' producers inlined.
        result: the stage that writes the function's result; the anchor where nothing follows.
        place: the axes of ``result`` -> those of the anchor that they are; None: of extent 1.
        rest: where what follows takes other elements of the reduction than its own (a gate that is
            multiplied into a whole image): what it computes, by a kernel of its own.
    """

    anchor: Stage
    result: Stage
    place: dict[Any, Axis | None]
    rest: Stage | None = None

    def value(self, sums: PrimExpr, at: dict[Any, Any]) -> Any:
        """The element of the result at ``at`` (anchor's axes -> index), given the reduction's."""
        if self.result is self.anchor:
            return sums
        known = {
            axis.var: _zero(axis) if own is None else at[own.var]
            for axis, own in ((axis, self.place[axis.var]) for axis in self.result.dims)
        }
        value = replace_loads(self.result.value, self.anchor.buffer, sums)
        return substitute(value, known)

    def indices(self, at: dict[Any, Any]) -> list[Any]:
        """Where that element is in the result."""
        owns = [self.place[axis.var] for axis in self.result.dims]
        return [
            _zero(axis) if own is None else at[own.var].astype(str(axis.var.ty.dtype))
            for axis, own in zip(self.result.dims, owns, strict=True)
        ]


def fused_reduction(stages: Sequence[Stage], params: Sequence[Any]) -> Fused | None:
    """The ``stages`` of a function as a :class:`Fused`, or None where they are none: several
    reductions or results."""
    if sum(bool(stage.reduced) for stage in stages) != 1:
        return None
    results = [stage for stage in stages if _among(stage.buffer, params)]
    if len(results) != 1 or results[0] is not stages[-1]:
        return None
    anchor_at = next(i for i, stage in enumerate(stages) if stage.reduced)
    anchor = inlined(stages[anchor_at], stages[:anchor_at])
    if anchor_at == len(stages) - 1:
        return _alone(anchor)
    others = [stage for i, stage in enumerate(stages[:-1]) if i != anchor_at]
    result = inlined(stages[-1], others)
    place = _place(result, anchor)
    return _alone(anchor, rest=result) if place is None else Fused(anchor, result, place)


def _alone(anchor: Stage, rest: Stage | None = None) -> Fused:
    return Fused(anchor, anchor, {axis.var: axis for axis in anchor.dims}, rest)


def replace_loads(expr: PrimExpr, buffer: Buffer, value: PrimExpr) -> Any:
    """``expr`` with every load of ``buffer`` replaced."""

    def see(load: Any) -> Any:
        return value if load.source.same_as(buffer) else load

    return tvm_ffi.structural_map(expr, ((Load, see),))


def _zero(axis: Axis) -> Any:
    return tirx.const(0, axis.var.ty.dtype)


def _among(buffer: Buffer, buffers: Sequence[Any]) -> bool:
    return any(buffer.same_as(each) for each in buffers)


def inlined(stage: Stage, producers: Sequence[Stage]) -> Stage:
    """``stage``, what it loads of ``producers`` (element-wise, in program order) computed in it."""
    value = stage.value
    for producer in reversed(producers):

        def see(load: Any, producer: Stage = producer) -> Any:
            if not load.source.same_as(producer.buffer):
                return load
            at = {a.var: i for a, i in zip(producer.dims, load.indices, strict=True)}
            return substitute(producer.value, at)

        value = tvm_ffi.structural_map(value, ((Load, see),))
    same = (stage.name, stage.buffer, stage.dims, stage.reduced)
    return Stage(*same, value, stage.combine, stage.init, stage.annotations)


def _place(result: Stage, anchor: Stage) -> dict[Any, Axis | None] | None:
    """See :class:`Fused`; None where an element of the result takes another one of the anchor."""
    long = [axis for axis in anchor.dims if axis.extent > 1]
    own = [axis for axis in result.dims if axis.extent > 1]
    if [axis.extent for axis in long] != [axis.extent for axis in own]:
        return None
    taken = [load for load in loads(result.value) if load.source.same_as(anchor.buffer)]
    for load in taken:
        used = [i for i, axis in zip(load.indices, anchor.dims, strict=True) if axis.extent > 1]
        if not all(i.same_as(axis.var) for i, axis in zip(used, own, strict=True)):
            return None
    place: dict[Any, Axis | None] = {axis.var: None for axis in result.dims}
    place.update({axis.var: of for axis, of in zip(own, long, strict=True)})
    return place if taken else None
