"""Packing of bfloat16 matrices in pairs along the depth, for tiles and for ``vdpbf16ps``.

Rows of an operand are first copied to a buffer of whole vectors, whatever view they are read
through; what is turned around then lies side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvmcomp.schedules.bfloat16 import BITS
from tvmcomp.schedules.rows.loop_nest import tails
from tvmcomp.schedules.rows.transpose_kernel import exchanged
from tvmcomp.schedules.tir.loops import serial, vectorized, whole
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer

tirx = tvm.tirx
T = tirx.script.builder

#: Gives an element of an operand at (row, column).
Element = Callable[[Any, Any], Any]


def copy_row(into: Buffer, at: Any, element: Element, row: Any, width: int, lanes: int) -> None:
    """Emit ``into[at, :width] = element(row, ...)``, and zeros in what is left of the row."""

    def copy(begin: Any, count: int) -> None:
        with vectorized(count) as lane:
            T.buffer_store(into, element(row, begin + lane), [at, begin + lane])

    if width >= lanes:
        with serial(width // lanes) as block:
            copy(block * lanes, lanes)
    for offset, count in tails(width, lanes):
        copy(whole(offset), count)
    offset = width
    while offset < int(into.shape[1]):  # to the next whole vector, then by vectors
        count = min(lanes, int(into.shape[1]) - offset, (offset & -offset) or lanes)
        with vectorized(count) as lane:
            T.buffer_store(into, tirx.const(0, BITS), [at, whole(offset) + lane])
        offset += count


def pack_transposed(packed: Buffer, element: Element, rows: int, depth: int, lanes: int) -> None:
    """Emit ``packed[row / lanes, k / 2, 2 (row % lanes) + k % 2] = element(row, k)``.

    Rows beyond the last are as it is: what comes of them is to be left out.
    """
    panels, pairs = int(packed.shape[0]), int(packed.shape[1])
    copied = T.sblock_alloc_buffer((lanes, 2 * pairs), BITS)
    steps = [
        T.sblock_alloc_buffer((lanes * lanes,), "uint32", scope="local")
        for _ in range(lanes.bit_length())
    ]
    with serial(panels) as panel:
        with serial(lanes) as i:
            row = T.min(panel * lanes + i, whole(rows - 1))
            copy_row(copied, i, element, row, depth, 2 * lanes)
        with serial(pairs // lanes) as part:
            for i in range(lanes):
                run = tirx.Ramp(part * (2 * lanes), whole(1), 2 * lanes)
                loaded = tirx.BufferLoad(copied, [whole(i), run])
                value = tirx.reinterpret(f"uint32x{lanes}", loaded)
                T.buffer_store(steps[0], value, [_vector(i, lanes)])
            for n in range(len(steps) - 1):
                for i in range(lanes):
                    value = exchanged(steps[n], i, lanes, 1 << n)
                    T.buffer_store(steps[n + 1], value, [_vector(i, lanes)])
            for i in range(lanes):
                value = tirx.BufferLoad(steps[-1], [_vector(i, lanes)])
                _store_pairs(packed, panel, part * lanes + i, value, lanes)


def pack_interleaved(packed: Buffer, element: Element, rows: int, width: int, lanes: int) -> None:
    """Emit ``packed[k / lanes, row / 2, 2 (k % lanes) + row % 2] = element(row, k)``; rows beyond
    the last are zeros.
    """
    panels, pairs = int(packed.shape[0]), int(packed.shape[1])
    copied = T.sblock_alloc_buffer((2, panels * lanes), BITS)

    def interleave(pair: Any) -> None:
        with serial(panels) as panel:
            run = tirx.Ramp(panel * lanes, whole(1), lanes)
            even, odd = (
                tirx.BufferLoad(copied, [whole(i), run]).astype(f"uint32x{lanes}") for i in range(2)
            )
            shift = tirx.Broadcast(tirx.const(16, "uint32"), lanes)
            _store_pairs(packed, panel, pair, even | (odd << shift), lanes)

    if rows >= 2:
        with serial(rows // 2) as pair:
            for i in range(2):
                copy_row(copied, whole(i), element, pair * 2 + i, width, 2 * lanes)
            interleave(pair)
    for pair in range(rows // 2, pairs):
        last = 2 * pair < rows
        copy_row(copied, whole(0), element, whole(rows - 1), width if last else 0, 2 * lanes)
        copy_row(copied, whole(1), element, whole(rows - 1), 0, 2 * lanes)
        interleave(whole(pair))


def _vector(number: int, lanes: int) -> Any:
    return tirx.Ramp(whole(number * lanes), whole(1), lanes)


def _store_pairs(packed: Buffer, panel: Any, pair: Any, value: Any, lanes: int) -> None:
    place = tirx.Ramp(whole(0), whole(1), 2 * lanes)
    T.buffer_store(packed, tirx.reinterpret(f"{BITS}x{2 * lanes}", value), [panel, pair, place])
