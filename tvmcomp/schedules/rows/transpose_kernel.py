"""Element-wise stages that read one tensor along another axis than they write: transposes.

Squares of the tensor are loaded as vectors along the axis that is contiguous there, turned around
in registers by shuffles, and used as vectors along the last axis of the result: neither side makes
scalar or strided accesses. Where the sides are no multiple of a square's, the last squares overlap
those before them: what they share is computed twice, to the same values. Where a border is around
what is loaded, squares cover what is inside of it along the axis that is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.rows.loop_nest import (
    PARALLEL,
    SERIAL,
    array,
    index,
    loop,
    sequence,
    unravel,
    vector,
    with_arrays,
)
from tvmcomp.schedules.stages import Axis, Load, Stage, advances, loads, mentions, substitute
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Call, PrimExpr

tirx = tvm.tirx

#: Smaller squares are not worth their shuffles.
_SMALLEST = 4


@dataclass(frozen=True)
class Transpose:
    """What makes a stage a transpose.

    Attributes:
        load: the one load that runs along ``axis``.
        axis: of the result, not its last; contiguous in what is loaded.
        side: elements of a square's side.
        inside: the indices of ``axis`` that squares cover.
        guarded: the stage has conditions (a border around what is loaded): where they don't hold
            the load may be outside of its tensor, and is not made.
    """

    load: Any
    axis: Axis
    side: int
    inside: range
    guarded: bool


def find_transpose(stage: Stage, target: TargetDescription) -> Transpose | None:
    """How ``stage`` is a transpose, or None where it is none."""
    if stage.reduced or len(stage.dims) < 2:
        return None
    last = stage.dims[stage.last_long]
    others = stage.dims[: stage.last_long]
    found = []
    for load in loads(stage.value):
        at = load.indices[-1] if load.indices else None
        if at is None or not _mention(load.indices, last) or mentions(at, last.var):
            continue
        found += [(load, axis) for axis in others if axis.extent > 1 and advances(at, axis.var)]
    if len(found) != 1 or any(loads(i) for i in found[0][0].indices):
        return None
    load, axis = found[0]
    guarded = _has_condition(stage.value)
    inside = _inside(load, axis) if guarded else range(axis.extent)
    largest = stage.lanes(target)
    side = 1 << (min(largest, 16, len(inside), last.extent).bit_length() - 1) if inside else 0
    return Transpose(load, axis, side, inside, guarded) if side >= _SMALLEST else None


def _inside(load: Any, axis: Axis) -> range:
    """Where on ``axis`` the last index of ``load`` is one of its tensor's; nowhere if that depends
    on other axes."""
    zero = tirx.const(0, axis.var.ty.dtype)
    first = tvm.sym.Analyzer().simplify(substitute(load.indices[-1], {axis.var: zero}))
    if not isinstance(first, tirx.IntImm):
        return range(0)
    end = int(load.source.shape[-1]) - int(first)
    return range(max(0, -int(first)), min(axis.extent, end))


def _has_condition(expr: PrimExpr) -> bool:
    found: list[Any] = []

    def see(call: Call) -> None:
        if isinstance(call.op, tvm.ir.Op) and str(call.op.name) == "prim.if_then_else":
            found.append(call)

    tvm_ffi.structural_walk(expr, (tvm.ir.Call, see))
    return bool(found)


def _mention(indices: Sequence[PrimExpr], axis: Axis) -> bool:
    """Whether one of ``indices`` depends on ``axis``."""
    return any(mentions(i, axis.var) for i in indices)


def transpose_kernel(
    stage: Stage, transpose: Transpose, target: TargetDescription, parallel: bool
) -> Any:
    """The statement that computes ``stage``.

    Args:
        stage: without reduction.
        transpose: from :func:`find_transpose`.
        target: the device.
        parallel: run on all threads.
    """
    return _Emitter(stage, transpose, target).whole(parallel)


class _Emitter:
    def __init__(self, stage: Stage, transpose: Transpose, target: TargetDescription) -> None:
        self.stage = stage
        self.transpose = transpose
        self.side = transpose.side
        #: Written along ``last``, read along ``first``.
        self.first, self.last = transpose.axis, stage.dims[stage.last_long]
        self.outer = [axis for axis in stage.dims if axis not in (self.first, self.last)]

    def whole(self, parallel: bool) -> Any:
        inside = self.transpose.inside
        blocks = -(-len(inside) // self.side)
        extents = [*(axis.extent for axis in self.outer), blocks]

        def body(i: PrimExpr) -> Any:
            *outer, block = unravel(i, extents)
            at = {axis.var: x for axis, x in zip(self.outer, outer, strict=True)}
            begin = block * self.side
            if len(inside) % self.side:
                begin = tirx.min(begin, index(len(inside) - self.side))
            squares = self.squares(at, begin + inside.start if inside.start else begin)
            border = [c for c in range(self.first.extent) if c not in inside]
            if not border:
                return squares
            around = sequence([self.column(at, index(c)) for c in border])
            return sequence([squares, tirx.IfThenElse(block == 0, around, None)])

        return loop(math.prod(extents), body, PARALLEL if parallel else SERIAL, "block")

    def column(self, at: dict[Any, Any], place: PrimExpr) -> Any:
        """The results at one ``place`` of the axis that is read, in the border."""
        known = {**at, self.first.var: place}
        return loop(self.last.extent, lambda j: self.store(known, j))

    def squares(self, at: dict[Any, Any], begin: Any) -> Any:
        """``side`` rows of the axis that is read, over the whole last axis."""
        whole = self.last.extent // self.side
        statements = [loop(whole, lambda j: self.turned_square(at, begin, j * self.side))]
        if self.last.extent % self.side:
            rest = index(self.last.extent - self.side)
            statements.append(self.turned_square(at, begin, rest))
        return sequence(statements)

    def turned_square(self, at: dict[Any, Any], begin: Any, column: PrimExpr) -> Any:
        side, dtype = self.side, str(self.transpose.load.ty.dtype)
        steps = [array([side * side], dtype, f"step{n}") for n in range(side.bit_length())]
        statements = []
        for row in range(side):

            def load(lane: PrimExpr, row: int = row) -> Any:
                values = {**at, self.first.var: begin + lane, self.last.var: column + row}
                value = self.loaded(values)
                return tirx.BufferStore(steps[0], value, [lane + row * side])

            statements.append(vector(side, load))
        for n, (before, after) in enumerate(pairwise(steps)):
            statements += _exchange(before, after, side, 1 << n)
        turned = steps[-1]
        for row in range(side):

            def use(lane: PrimExpr, row: int = row) -> Any:
                element = tirx.BufferLoad(turned, [lane + row * side])
                return self.store({**at, self.first.var: begin + row}, column + lane, element)

            statements.append(vector(side, use))
        return with_arrays(steps, sequence(statements))

    def loaded(self, values: dict[Any, Any]) -> Any:
        """The load, from the nearest row of its tensor where it may lie outside."""
        load = substitute(self.transpose.load, values)
        if not self.transpose.guarded:
            return load
        *rows, last = load.indices
        clamped = [
            tirx.max(tirx.min(row, size - 1), 0)
            for row, size in zip(rows, load.source.shape[:-1], strict=True)
        ]
        return tirx.BufferLoad(load.source, [*clamped, last])

    def store(self, at: dict[Any, Any], column: PrimExpr, element: PrimExpr = None) -> Any:
        """The result at ``column`` of the last axis; ``element`` replaces the load."""
        known = {**at, self.last.var: column}
        value = self.stage.value
        if element is not None:
            value = _replace(value, self.transpose.load, element)
        indices = [known[axis.var] for axis in self.stage.dims]
        return tirx.BufferStore(self.stage.buffer, substitute(value, known), indices)


def _replace(expr: PrimExpr, load: Any, element: PrimExpr) -> Any:
    def see(node: Any) -> Any:
        same = tvm_ffi.structural_equal(node, load, map_free_vars=False)
        return element if same else node

    return tvm_ffi.structural_map(expr, ((Load, see),))


def _exchange(before: Any, after: Any, side: int, step: int) -> list[Any]:
    """One of the log2(side) steps of a transpose: see :func:`exchanged`."""
    return [
        tirx.BufferStore(after, exchanged(before, i, side, step), [_run(i, side)])
        for i in range(side)
    ]


def exchanged(rows: Any, i: int, side: int, step: int) -> Any:
    """Row ``i`` after a step of the transpose of ``rows``, a flat array of ``side`` vectors.

    Rows a and b, ``step`` apart, exchange the elements of a at the columns with that bit and those
    of b at the columns without it.
    """
    a, b = (tirx.BufferLoad(rows, [_run(row, side)]) for row in (i & ~step, i | step))
    if i & step:
        picks = [side + j if j & step else j + step for j in range(side)]
    else:
        picks = [side + j - step if j & step else j for j in range(side)]
    return tirx.Shuffle([a, b], [tirx.const(pick, "int32") for pick in picks])


def _run(row: int, side: int) -> Any:
    return tirx.Ramp(index(row * side), index(1), side)
