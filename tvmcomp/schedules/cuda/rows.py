"""A function as reductions of rows, and results that need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.cuda.fused import inlined, replace_loads
from tvmcomp.schedules.stages import Axis, Stage, loads, mentions
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr

tirx = tvm.tirx

#: Rows shorter than this are not worth a warp.
_SHORTEST = 8


@dataclass(frozen=True)
class Rows:
    """``reductions`` of a row in order, then ``results``; everything else inlined.

    Attributes:
        lead: the axes that number the rows: those of the first reduction.
        reductions, results: the stages.
        place: name of a stage -> its leading axes, each with that of ``lead`` which it is, or None
            for one of extent 1.
    """

    lead: tuple[Axis, ...]
    reductions: tuple[Stage, ...]
    results: tuple[Stage, ...]
    place: dict[str, list[tuple[Axis, Axis | None]]]

    def own(self, stage: Stage) -> tuple[Axis, ...]:
        """The axes of a result within the row."""
        return stage.dims[len(self.place[stage.name]) :]

    @staticmethod
    def replaced(value: PrimExpr, buffer: Buffer, by: PrimExpr) -> Any:
        """``value`` with loads of a reduction's result replaced."""
        return replace_loads(value, buffer, by)


def find_rows(stages: Sequence[Stage], params: Sequence[Any]) -> Rows | None:
    """The rows in ``stages``, or None: a reduction has other rows, or is taken elsewhere than in
    its own."""
    reductions, results = [], []
    producers: list[Stage] = []
    for stage in stages:
        is_result = any(stage.buffer.same_as(param) for param in params)
        if stage.reduced:
            reductions.append(inlined(stage, producers))
            if is_result:
                results.append(_stored(stage))
        elif is_result:
            results.append(inlined(stage, producers))
        else:
            producers.append(stage)
    if not reductions or not results:
        return None
    lead = tuple(axis for axis in reductions[0].dims if axis.extent > 1)
    place = {}
    for stage in (*reductions, *results):
        found = _leading(stage, lead)
        if found is None or any(not _own_row(load, found) for load in _loads_of(stage, reductions)):
            return None
        place[stage.name] = found
    if len(place) != len(reductions) + len(results):
        return None
    contiguous = [stage.contiguous for stage in reductions]
    if any(axis is None or axis.extent < _SHORTEST for axis in contiguous):
        return None
    return Rows(lead, tuple(reductions), tuple(results), place)


def _stored(stage: Stage) -> Stage:
    """What stores the result of a reduction."""
    value = tirx.BufferLoad(stage.buffer, [axis.var for axis in stage.dims])
    return Stage(f"{stage.name}_stored", stage.buffer, stage.dims, (), value)


def _leading(stage: Stage, lead: Sequence[Axis]) -> list[tuple[Axis, Axis | None]] | None:
    """The axes of ``stage`` that are those of ``lead``, its first ones."""
    found: list[tuple[Axis, Axis | None]] = []
    left = list(lead)
    for axis in stage.dims:
        if axis.extent == 1:
            found.append((axis, None))
        elif left and axis.extent == left[0].extent:
            found.append((axis, left.pop(0)))
        else:
            break
    if left or (stage.reduced and len(found) != len(stage.dims)):
        return None
    return found


def _loads_of(stage: Stage, reductions: Sequence[Stage]) -> list[Any]:
    return [
        load
        for load in loads(stage.value)
        if any(load.source.same_as(each.buffer) for each in reductions)
    ]


def _own_row(load: Any, place: Sequence[tuple[Axis, Axis | None]]) -> bool:
    """Whether a reduction is taken at the row's own place."""
    own = [axis for axis, of in place if of is not None]
    at = [index for index in load.indices if not isinstance(index, tirx.IntImm)]
    units = [axis for axis, of in place if of is None]
    at = [i for i in at if not any(mentions(i, axis.var) for axis in units)]
    return len(at) == len(own) and all(i.same_as(axis.var) for i, axis in zip(at, own, strict=True))
