"""``sdot`` over the rows of a window: a depthwise convolution's dot product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.columns import DEPTH, register_columns
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx

#: Channels of one instruction.
_LANES = 4


def sdot_columns(lanes: int, rows: int, dilation: int) -> str:
    """Register :func:`~tvmcomp.schedules.columns.register_columns` for s8 data of ``lanes``.

    Two rounds of ``zip1`` and ``zip2`` interleave the rows channel by channel.

    Returns:
        The tensor intrinsic's name.
    """

    def interleave(left: PrimExpr, right: PrimExpr, width: int) -> Any:
        return tirx.Shuffle(
            [left, right], [at + side * width for at in range(width) for side in (0, 1)]
        )

    def quarter(vector: PrimExpr, index: int, width: int) -> Any:
        return tirx.Shuffle([vector], list(range(index * width, (index + 1) * width)))

    def emit(row: Sequence[PrimExpr], weight: Any, acc: PrimExpr) -> PrimExpr:
        even, odd = interleave(row[0], row[2], lanes), interleave(row[1], row[3], lanes)
        interleaved = interleave(even, odd, 2 * lanes)
        sums = [
            tirx.call_llvm_pure_intrin(
                "int32x4",
                "llvm.aarch64.neon.sdot.v4i32.v16i8",
                quarter(acc, index, _LANES),
                quarter(interleaved, index, _LANES * DEPTH),
                quarter(weight, index, _LANES * DEPTH),
            )
            for index in range(lanes // _LANES)
        ]
        return sums[0] if len(sums) == 1 else tirx.Shuffle(sums, list(range(lanes)))

    return register_columns("tvmcomp.arm.sdot_columns", lanes, rows, dilation, "int8", emit)
