"""A kernel that copies pieces of one tensor into another, row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.schedules.parallel import worth_parallel
from tvmcomp.schedules.rows.loop_nest import PARALLEL, SERIAL, loop, sequence, unravel, vectors
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

tirx = tvm.tirx

#: Vector instructions that a vector of a copy takes: a load, a store, and their addresses.
_INSTRUCTIONS = 3


@dataclass(frozen=True)
class Piece:
    """What is copied: ``shape`` elements, from the index ``source`` on to the index ``to`` on."""

    source: tuple[int, ...]
    to: tuple[int, ...]
    shape: tuple[int, ...]


def copy_kernel(
    source: tuple[int, ...],
    to: tuple[int, ...],
    dtype: str,
    pieces: Sequence[Piece],
    target: TargetDescription,
) -> Any:
    """A scheduled PrimFunc of a tensor of shape ``source`` and one of shape ``to``, of ``dtype``.

    Args:
        source, to: the shapes.
        dtype: of both.
        pieces: what is copied; all have the same rows (every axis but the last).
        target: the device.
    """
    data = tirx.decl_buffer(source, dtype, "data")
    result = tirx.decl_buffer(to, dtype, "result")
    rows = pieces[0].shape[:-1]
    bits = tvm_ffi.dtype(dtype).bits
    lanes = max(1, target.vector_bits // bits)
    work = sum(-(-piece.shape[-1] // lanes) for piece in pieces) * math.prod(rows) * _INSTRUCTIONS

    def row(at: Any) -> Any:
        position = unravel(at, rows)

        def copied(piece: Piece) -> Any:
            def element(i: Any) -> Any:
                here = [*position, i]
                value = tirx.BufferLoad(data, _moved(here, piece.source))
                return tirx.BufferStore(result, value, _moved(here, piece.to))

            return vectors(piece.shape[-1], lanes, element)

        return sequence([copied(piece) for piece in pieces])

    kind = PARALLEL if worth_parallel(work) else SERIAL
    root = tvm.s_tir.SBlock([], [], [], "root", loop(math.prod(rows), row, kind, "row"))
    body = tvm.s_tir.SBlockRealize([], tirx.const(True, "bool"), root)
    return (
        tirx.PrimFunc([data, result], body)
        .with_attr("tirx.noalias", True)
        .with_attr("tirx.is_scheduled", True)
    )


def _moved(position: Sequence[Any], by: Sequence[int]) -> list[Any]:
    return [i + first if first else i for i, first in zip(position, by, strict=True)]
