"""A function as reductions of rows, and results that need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.cuda.fused import inlined, replace_loads
from tvmcomp.schedules.stages import Axis, Stage, loads
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr

tirx = tvm.tirx

#: Contiguous elements from which on they are for neighbouring threads.
_SHORTEST = 8


#: Axes of a stage, each with that of the rows which it is, or None.
Place = list[tuple[Axis, Axis | None]]


@dataclass(frozen=True)
class Rows:
    """``reductions`` of a row in order, then ``results``; everything else inlined.

    Attributes:
        lead: the axes that number the rows: those of the first reduction.
        reductions, results: the stages.
        place: name of a stage -> the axes that say which row it is of, each with that of ``lead``
            which it is, or None for one of extent 1.
    """

    lead: tuple[Axis, ...]
    reductions: tuple[Stage, ...]
    results: tuple[Stage, ...]
    place: dict[str, Place]

    @property
    def contiguous(self) -> bool:
        """Whether the elements of a row are neighbours in memory, and many: those of neighbouring
        threads."""
        along = [stage.contiguous for stage in self.reductions]
        read = all(axis is not None and axis.extent >= _SHORTEST for axis in along)
        own = [(stage.dims, self.own(stage)) for stage in self.results]
        return read and all(dims[len(dims) - len(axes) :] == axes for dims, axes in own)

    def own(self, stage: Stage) -> tuple[Axis, ...]:
        """The axes of a result within the row."""
        of_row = [axis for axis, _ in self.place[stage.name]]
        return tuple(axis for axis in stage.dims if axis not in of_row)

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
    place: dict[str, Place] = {}
    for stage in (*reductions, *results):
        taken = [
            (load, place.get(each.name, []))
            for load in loads(stage.value)
            for each in reductions
            if load.source.same_as(each.buffer)
        ]
        found = _place(stage, taken) if taken else _leading(stage, lead)
        if found is None or sum(own is not None for _, own in found) != len(lead):
            return None
        place[stage.name] = found
    if len(place) != len(reductions) + len(results):
        return None
    return Rows(lead, tuple(reductions), tuple(results), place)


def _stored(stage: Stage) -> Stage:
    """What stores the result of a reduction."""
    value = tirx.BufferLoad(stage.buffer, [axis.var for axis in stage.dims])
    return Stage(f"{stage.name}_stored", stage.buffer, stage.dims, (), value)


def _place(stage: Stage, taken: Sequence[tuple[Any, Place]]) -> Place | None:
    """The axes of ``stage`` at which it takes what was reduced before: ``taken``, loads and where
    the rows are in what they read. None where it takes that of several rows."""
    found: dict[Any, Axis] = {}
    own = [axis.var for axis in stage.dims]
    for load, rows in taken:
        for index, (_, row) in zip(load.indices, rows, strict=True):
            if row is None:
                continue
            if index not in own or found.setdefault(index, row) is not row:
                return None
    place = [
        (axis, found.get(axis.var)) for axis in stage.dims if axis.var in found or axis.extent == 1
    ]
    whole = len(place) == len(stage.dims) or not stage.reduced
    return place if whole and len({row.var for row in found.values()}) == len(found) else None


def _leading(stage: Stage, lead: Sequence[Axis]) -> Place | None:
    """The axes of ``stage``, which takes nothing that was reduced, that are those of ``lead``: its
    first ones."""
    found: Place = []
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
