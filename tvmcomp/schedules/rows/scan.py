"""Running sums and products along an axis, in vectors along the last one.

TVM's definition walks along the axis one element of the rest at a time: where that is not the last
axis, each step is in another cache line. Here a step is all that lies behind the axis, in vectors;
along the last axis it is one element of each of several rows, whose additions don't wait for each
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from tvmcomp.schedules.parallel import worth_parallel
from tvmcomp.schedules.rows.loop_nest import (
    PARALLEL,
    SERIAL,
    UNROLLED,
    index,
    loop,
    nest,
    sequence,
    unravel,
    vectors,
)
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

te = tvm.te
tirx = tvm.tirx

#: Rows that are taken side by side.
_TOGETHER = 4
#: Instructions a vector of the result takes.
_STEP = 3

Combine = Callable[[Any, Any], Any]
#: Where an element of step k is, given k.
Place = Callable[[Any], list[Any]]


def scan(
    data: Any, axis: int, combine: Combine, start: Any, exclusive: bool, target: TargetDescription
) -> Any:
    """The running ``combine`` of ``data`` along ``axis``.

    Args:
        data: of any shape with elements, and of any type.
        axis: not negative.
        combine: of two elements.
        start: what the first is combined with: it changes nothing.
        exclusive: each result is of the elements before its own.
        target: the device.

    Returns:
        A TE tensor of the shape and type of ``data``.
    """
    shape = [int(size) for size in data.shape]

    def body(inputs: Any, outputs: Any) -> Any:
        source, out = inputs[0], outputs[0]

        def first(place: Place) -> Any:
            value = start if exclusive else tirx.BufferLoad(source, place(index(0)))
            return tirx.BufferStore(out, value, place(index(0)))

        def step(place: Place, k: Any) -> Any:
            before = tirx.BufferLoad(out, place(k))
            value = tirx.BufferLoad(source, place(k if exclusive else k + 1))
            return tirx.BufferStore(out, combine(before, value), place(k + 1))

        def walk(each: Callable[[Callable[[Place], Any]], Any]) -> Any:
            """All steps; ``each`` runs what it is given for every element of one."""
            if shape[axis] == 1:
                return each(first)
            steps = loop(shape[axis] - 1, lambda k: each(lambda place: step(place, k)), name="k")
            return sequence([each(first), steps])

        if axis == len(shape) - 1:
            return _rows(shape[:-1], walk)
        return _vectors(shape, axis, walk, str(data.dtype), target)

    return te.extern([data.shape], [data], body, name="scan", dtype=[data.dtype])


def _rows(extents: Sequence[int], walk: Callable[..., Any]) -> Any:
    """Along the last axis: several rows side by side."""

    def block(begin: Any, count: int) -> Any:
        def each(body: Callable[[Place], Any]) -> Any:
            def of_row(i: PrimExpr) -> Any:
                return body(lambda k: [*unravel(begin + i, extents), k])

            return loop(count, of_row, UNROLLED)

        return walk(each)

    rows = prod(extents)
    whole, rest = divmod(rows, _TOGETHER)
    blocks = []
    if whole:
        kind = PARALLEL if worth_parallel(rows * _STEP) else SERIAL
        blocks.append(loop(whole, lambda b: block(b * _TOGETHER, _TOGETHER), kind, "block"))
    if rest:
        blocks.append(block(index(rows - rest), rest))
    return sequence(blocks)


def _vectors(
    shape: Sequence[int],
    axis: int,
    walk: Callable[..., Any],
    dtype: str,
    target: TargetDescription,
) -> Any:
    """Along any other axis: vectors of the last one."""
    outer, inner, last = list(shape[:axis]), list(shape[axis + 1 : -1]), shape[-1]
    lanes = max(1, target.vector_bits // int(tvm.DataType(dtype).bits))
    parallel = worth_parallel(prod(shape) / lanes * _STEP)
    shared = prod(outer)
    # With few of what lies before the axis, what lies behind it is spread over the threads too.
    spread = inner if parallel and shared < target.cores else []
    kept = inner[len(spread) :]

    def task(at: PrimExpr) -> Any:
        position = unravel(at, [*outer, *spread])
        before, between = position[: len(outer)], position[len(outer) :]

        def each(body: Callable[[Place], Any]) -> Any:
            def of_vectors(middle: list[Any]) -> Any:
                return vectors(
                    last, lanes, lambda i: body(lambda k: [*before, k, *between, *middle, i])
                )

            return nest(kept, of_vectors)

        return walk(each)

    return loop(prod([*outer, *spread]), task, PARALLEL if parallel else SERIAL, "row")
