"""Element-wise stages over short rows: several axes are one run of memory, in whole vectors.

Rows of 5 or 7 elements fill a part of a vector each. Where all that a stage reads lies as what it
writes, or is the same number throughout, the rows follow each other in memory without a gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.rows.loop_nest import PARALLEL, SERIAL, index, loop, tails, unravel, vectors
from tvmcomp.schedules.stages import Axis, Load, Stage, mentions, substitute
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

#: A run of so many vectors is long enough: the rest of the last one is little.
_ENOUGH = 16
#: Rows whose vectors are filled to this share are as good as a run.
_FILLED = 0.85


def find_run(stage: Stage, target: TargetDescription) -> tuple[Axis, ...] | None:
    """The last axes of ``stage`` that are worth to be one run; None where there are none: the rows
    are long enough, or what is read lies otherwise."""
    if stage.reduced or not stage.dims:
        return None
    lanes = stage.lanes(target)
    last = stage.dims[-1].extent
    if last == 1 or last / lanes > _FILLED * (last // lanes + len(tails(last, lanes))):
        return None
    found, count, length = 1, 1, last
    while count < len(stage.dims) and length < _ENOUGH * lanes and _in_step(stage, count + 1):
        count += 1
        length *= stage.dims[-count].extent
        if _are_seen_as_one([axis.extent for axis in stage.dims[-count:]], lanes):
            found = count
    return stage.dims[-found:] if found > 1 else None


def _are_seen_as_one(extents: Sequence[int], lanes: int) -> bool:
    """Whether TVM sees that the elements of a vector are neighbours: it simplifies their indices
    one by one, and then what they come to."""
    length = math.prod(extents)
    analyzer = tvm.sym.Analyzer()
    block, lane = tirx.Var("block", "int64"), tirx.Var("lane", "int64")
    analyzer.bind(block, tvm.ir.Range(0, max(1, length // lanes)))
    analyzer.bind(lane, tvm.ir.Range(0, lanes))
    for run in [block * lanes + lane, *(index(first) + lane for first, _ in tails(length, lanes))]:
        place = index(0)
        for extent, at in zip(extents, unravel(run, extents), strict=True):
            place = place * index(extent) + analyzer.simplify(at)
        if not tvm_ffi.structural_equal(analyzer.simplify(place), analyzer.simplify(run)):
            return False
    return True


def _in_step(stage: Stage, count: int) -> bool:
    """Whether all that ``stage`` reads runs along the last ``count`` axes as the result does, or
    along none of them."""
    axes = stage.dims[-count:]
    placed = tvm_ffi.structural_map(
        stage.value, ((Load, lambda load: _constant(load) if _lies_so(load, axes) else load),)
    )
    return not any(mentions(placed, axis.var) for axis in axes)


def _lies_so(load: Load, axes: Sequence[Axis]) -> bool:
    """Whether a load's last indices are ``axes``, and those its tensor's last dimensions."""
    outer, inner = load.indices[: -len(axes)], load.indices[-len(axes) :]
    sizes = load.source.shape[-len(axes) :]
    return (
        len(inner) == len(axes)
        and all(
            (at.same_as(axis.var) or axis.extent == 1) and int(size) == axis.extent
            for at, size, axis in zip(inner, sizes, axes, strict=True)
        )
        and not any(mentions(at, axis.var) for at in outer for axis in axes)
    )


def _constant(load: Load) -> PrimExpr:
    """Anything of a load's type that depends on no axis."""
    return tirx.const(0, str(load.ty.dtype))


def run_kernel(
    stage: Stage, run: tuple[Axis, ...], target: TargetDescription, parallel: bool
) -> PrimExpr:
    """The statement that computes ``stage``.

    Args:
        stage: without reduction.
        run: from :func:`find_run`.
        target: the device.
        parallel: run on all threads.
    """
    outer = stage.dims[: len(stage.dims) - len(run)]
    extents, inner = [axis.extent for axis in outer], [axis.extent for axis in run]
    count, lanes = math.prod(extents), stage.lanes(target)
    many = count >= target.cores

    def row(at: PrimExpr) -> PrimExpr:
        position = unravel(at, extents)

        def element(i: PrimExpr) -> PrimExpr:
            here = [*position, *unravel(i, inner)]
            values = {axis.var: x for axis, x in zip(stage.dims, here, strict=True)}
            return tirx.BufferStore(stage.buffer, substitute(stage.value, values), here)

        kind = PARALLEL if parallel and not many else SERIAL
        return vectors(math.prod(inner), lanes, element, kind)

    return loop(count, row, PARALLEL if parallel and many else SERIAL, "row")
