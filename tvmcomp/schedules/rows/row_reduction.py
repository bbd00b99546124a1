"""Reductions in vectors, within a row.

A reduction runs in vectors along its last axis if that is what it leaves, with the sums in
registers; where it reduces what is contiguous in memory, with a few vectors of partial results that
are folded at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.rows.loop_nest import (
    SERIAL,
    UNROLLED,
    array,
    index,
    loop,
    nest,
    sequence,
    tails,
    vector,
    with_arrays,
)
from tvmcomp.schedules.stages import Axis, Stage
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

#: Vectors of partial results: enough independent chains to hide the latency of an addition.
_CHAINS = 4
#: A window of at most so many elements is unrolled.
_UNROLLED_WINDOW = 9

#: Axis variable -> its value.
At = dict[Any, Any]


@dataclass(frozen=True)
class StageLoops:
    """A stage of one row, and how its elements are computed and stored.

    Attributes:
        stage: what to compute.
        inner: the axes of its result within the row.
        lanes: elements in a vector.
        kind: of the loops over vectors: serial or parallel.
        value: the element, or what the reduction combines, at the inner and reduced axes.
        store: stores an element at the inner axes.
    """

    stage: Stage
    inner: Sequence[Axis]
    lanes: int
    kind: Any
    value: Callable[[At], Any]
    store: Callable[[Any, At], Any]

    def outer_and_last(self) -> tuple[list[Axis], Axis]:
        """The last axis that runs more than once, and the others."""
        last = max((i for i, axis in enumerate(self.inner) if axis.extent > 1), default=-1)
        return [axis for axis in self.inner if axis is not self.inner[last]], self.inner[last]

    def combine(self, a: PrimExpr, b: PrimExpr) -> Any:
        """The reduction's operation."""
        assert self.stage.combine is not None
        return self.stage.combine(a, b)

    def partial(self, width: int) -> Any:
        """A temporary vector of partial results."""
        return array([width], str(self.stage.buffer.ty.dtype), f"{self.stage.name}_partial")

    def start(self, sums: PrimExpr) -> Any:
        """Set partial results to what the reduction starts from."""
        return vector(_width(sums), lambda i: tirx.BufferStore(sums, self.stage.init, [i]))

    def accumulate(self, sums: PrimExpr, at: Callable[[Any], At]) -> Any:
        """Combine partial results with the values at ``at(lane)``."""

        def update(lane: PrimExpr) -> Any:
            total = self.combine(tirx.BufferLoad(sums, [lane]), self.value(at(lane)))
            return tirx.BufferStore(sums, total, [lane])

        return vector(_width(sums), update)


def _width(sums: PrimExpr) -> int:
    return int(sums.shape[0])


def _bind(axes: Sequence[Axis], position: Sequence[PrimExpr]) -> At:
    return {axis.var: i for axis, i in zip(axes, position, strict=True)}


def _extents(axes: Sequence[Axis]) -> list[int]:
    return [axis.extent for axis in axes]


def reduce_into_vectors(loops: StageLoops) -> Any:
    """Vectors along the last axis of the result, a few at once, each reduced whole.

    What is left at the end of the axis is reduced at once too, in vectors of all widths: one after
    the other would each wait for its own additions.
    """
    outer, last = loops.outer_and_last()
    reduced = loops.stage.reduced
    window = math.prod(_extents(reduced))
    kind = UNROLLED if window <= _UNROLLED_WINDOW else SERIAL
    lanes = loops.lanes
    blocks, left = divmod(last.extent // lanes, _CHAINS)
    end = blocks * _CHAINS * lanes
    rest = [(end + n * lanes, lanes) for n in range(left)] + tails(last.extent, lanes)

    def body(position: list[PrimExpr]) -> Any:
        at = _bind(outer, position)

        def block(base: Any, parts: Sequence[tuple[int, int]]) -> Any:
            """The vectors at these offsets from ``base``, of these widths."""
            sums = [loops.partial(width) for _, width in parts]

            def here(offset: int, lane: PrimExpr) -> At:
                return {**at, last.var: base + offset + lane}

            def update(taps: list[Any]) -> Any:
                inside = _bind(reduced, taps)
                return sequence(
                    [
                        loops.accumulate(
                            each,
                            lambda lane, offset=offset: {**here(offset, lane), **inside},  # type: ignore[misc]
                        )
                        for (offset, _), each in zip(parts, sums, strict=True)
                    ]
                )

            def result(offset: int, each: Any) -> Any:
                return vector(
                    _width(each),
                    lambda lane: loops.store(tirx.BufferLoad(each, [lane]), here(offset, lane)),
                )

            steps = [loops.start(each) for each in sums]
            steps.append(nest(_extents(reduced), update, kind))
            steps += [result(offset, each) for (offset, _), each in zip(parts, sums, strict=True)]
            return with_arrays(sums, sequence(steps))

        steps = [block(index(0), rest)] if rest else []
        if blocks:
            whole = [(n * lanes, lanes) for n in range(_CHAINS)]
            step = _CHAINS * lanes
            steps.insert(0, loop(blocks, lambda c: block(c * step, whole), loops.kind))
        return sequence(steps)

    return nest(_extents(outer), body)


def reduce_vectors(loops: StageLoops, contiguous: Axis) -> Any:
    """Partial results in vectors along ``contiguous``, folded into one number at the end."""
    others = [axis for axis in loops.stage.reduced if axis is not contiguous]
    lanes = loops.lanes
    whole = contiguous.extent // lanes
    chains = min(_CHAINS, whole)

    def body(position: list[PrimExpr]) -> Any:
        at = _bind(loops.inner, position)
        main = [loops.partial(lanes) for _ in range(chains)]
        rest = {o: loops.partial(width) for o, width in tails(contiguous.extent, lanes)}

        def accumulate(taps: list[Any]) -> Any:
            known = {**at, **_bind(others, taps)}

            def add(sums: PrimExpr, base: Any) -> Any:
                return loops.accumulate(sums, lambda lane: {**known, contiguous.var: base + lane})

            def vectors_from(first: Any, count: int) -> list[Any]:
                return [add(main[n], (first + n) * lanes) for n in range(count)]

            steps = []
            if whole:
                steps.append(
                    loop(whole // chains, lambda c: sequence(vectors_from(c * chains, chains)))
                )
                steps += vectors_from(index(whole - whole % chains), whole % chains)
            steps += [add(sums, index(offset)) for offset, sums in rest.items()]
            return sequence(steps)

        arrays = [*main, *rest.values()]
        steps = [loops.start(sums) for sums in arrays]
        steps.append(nest(_extents(others), accumulate))
        folds, folded = _fold(loops, main, list(rest.values()))
        whole_row = folded[-1] if folded else main[0]  # all are folded into the first
        result = tirx.BufferLoad(whole_row, [index(0)])
        return with_arrays([*arrays, *folded], sequence([*steps, *folds, loops.store(result, at)]))

    return nest(_extents(loops.inner), body)


def _fold(loops: StageLoops, main: list[Any], rest: list[Any]) -> tuple[list[Any], list[Any]]:
    """Statements that combine partial results down to one, and the arrays they make, the last of
    which holds it.
    """
    steps, arrays = [], []
    for n in range(len(main) - 1, 0, -1):  # into the one before
        steps.append(_combine(loops, main[n - 1], [(main[n - 1], 0), (main[n], 0)]))
    current = main[0] if main else None
    width = loops.lanes // 2
    while width:
        parts = [(current, 0), (current, width)] if current is not None else []
        parts += [(sums, 0) for sums in rest if _width(sums) == width]
        if parts:
            current = loops.partial(width)
            arrays.append(current)
            steps.append(_combine(loops, current, parts))
        width //= 2
    return steps, arrays


def _combine(loops: StageLoops, into: Any, parts: Sequence[tuple[Any, int]]) -> Any:
    """Vectors from offsets in ``parts``, combined."""

    def body(lane: PrimExpr) -> Any:
        total, *others = (tirx.BufferLoad(sums, [lane + offset]) for sums, offset in parts)
        for value in others:
            total = loops.combine(total, value)
        return tirx.BufferStore(into, total, [lane])

    return vector(_width(into), body)
