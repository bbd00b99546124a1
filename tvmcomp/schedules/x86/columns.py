"""VNNI over the rows of a window: a depthwise convolution's dot product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvmcomp.schedules.columns import DEPTH, register_columns
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

tirx = tvm.tirx


def vpdpbusd_columns(lanes: int, rows: int, dilation: int) -> str:
    """Register :func:`~tvmcomp.schedules.columns.register_columns` for u8 data of ``lanes``.

    One byte permutation interleaves the rows channel by channel.

    Returns:
        The tensor intrinsic's name.
    """
    order = [row * lanes + lane for lane in range(lanes) for row in range(DEPTH)]

    def emit(row: Sequence[PrimExpr], weight: Any, acc: PrimExpr) -> PrimExpr:
        intrinsic = f"llvm.x86.avx512.vpdpbusd.{lanes * 32}"
        interleaved = tirx.Shuffle(list(row), order)
        return tirx.call_llvm_pure_intrin(f"int32x{lanes}", intrinsic, acc, interleaved, weight)

    return register_columns("tvmcomp.x86.vpdpbusd_columns", lanes, rows, dilation, "uint8", emit)
