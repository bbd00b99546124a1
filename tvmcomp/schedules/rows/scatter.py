"""Scattering elements along an axis: the data copied in vectors, then one update after the other.

TVM's definition takes the updates to be as large as the data in every dimension but ``axis``; they
may be smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tvmcomp.schedules.parallel import worth_parallel
from tvmcomp.schedules.rows.loop_nest import (
    PARALLEL,
    SERIAL,
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

#: What an update does with what is there.
UPDATES: dict[str, Callable[[Any, Any], Any]] = {
    "update": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "min": tirx.min,
    "max": tirx.max,
}


def scatter_elements(
    data: Any, indices: PrimExpr, updates: Any, axis: int, reduction: str, target: TargetDescription
) -> Any:
    """``data`` with ``updates`` put where ``indices`` say along ``axis``, in their order.

    Args:
        data: of any shape with elements.
        indices: integers of the shape of ``updates``, at most ``data``'s but along ``axis``; within
            the data.
        updates: of the type of ``data``.
        axis: not negative.
        reduction: a key of :data:`UPDATES`.
        target: the device.
    """
    shape = [int(size) for size in data.shape]
    lanes = max(1, target.vector_bits // max(8, int(tvm.DataType(str(data.dtype)).bits)))

    def body(inputs: Any, outputs: Any) -> Any:
        source, places, values = inputs
        out = outputs[0]

        def copy_row(at: PrimExpr) -> Any:
            row = unravel(at, shape[:-1])

            def copy(i: PrimExpr) -> Any:
                return tirx.BufferStore(out, tirx.BufferLoad(source, [*row, i]), [*row, i])

            return vectors(shape[-1], lanes, copy)

        def update(at: list[PrimExpr]) -> Any:
            index = tirx.BufferLoad(places, at).astype(str(at[axis].ty.dtype))
            to = [*at[:axis], index, *at[axis + 1 :]]
            value = UPDATES[reduction](tirx.BufferLoad(out, to), tirx.BufferLoad(values, at))
            return tirx.BufferStore(out, value, to)

        kind = PARALLEL if worth_parallel(prod(shape) / lanes * 2) else SERIAL
        copies = loop(prod(shape[:-1]), copy_row, kind, "row")
        return sequence([copies, nest([int(size) for size in updates.shape], update)])

    return te.extern(
        [data.shape], [data, indices, updates], body, name="scatter", dtype=[data.dtype]
    )
