"""A tile of a matrix in a block's shared memory, in stages, without bank conflicts.

A line of the tile is 2 to 16 pieces of 16 bytes. Eight neighbouring lines' pieces of the same
number, which ``ldmatrix`` reads at once, have to lie in the 8 different 16-byte parts of the
memory's banks: a piece's number is changed by the line's (exclusive or), so that no padding is
needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.cuda.instructions import copy_async, put
from tvmcomp.schedules.cuda.kernel import number, share, unrolled
from tvmcomp.schedules.cuda.side import Side
from tvmcomp.schedules.rows.loop_nest import sequence
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr

tirx = tvm.tirx

#: Bytes of a piece.
PIECE = 16
#: Pieces that all banks together hold.
_BANKS = 8


@dataclass(frozen=True)
class SharedTile:
    """A tile.

    Attributes:
        side: the matrix.
        rows: lines of the tile.
        nbytes: of a line; a power of two.
        memory: the block's shared memory, in bytes.
        begin: where the first stage's tile begins in it.
        stages: tiles after one another.
        gathered: an array for a piece that can't be copied as it is.
    """

    side: Side
    rows: int
    nbytes: int
    memory: Buffer
    begin: int
    stages: int
    gathered: Buffer

    def place(self, stage: PrimExpr, row: PrimExpr, byte: PrimExpr) -> Any:
        """Where the byte of a line is."""
        pieces = self.nbytes // PIECE
        turned = tirx.floormod(row, _BANKS)
        if pieces < _BANKS:
            turned = tirx.floormod(tirx.floordiv(row, _BANKS // pieces), pieces)
        piece = tirx.bitwise_xor(tirx.floordiv(byte, PIECE), turned)
        line = stage * self.rows + row
        return self.begin + line * self.nbytes + piece * PIECE + tirx.floormod(byte, PIECE)

    def load(
        self,
        stage: PrimExpr,
        batch: PrimExpr,
        row: PrimExpr,
        first: PrimExpr,
        thread: PrimExpr,
        threads: int,
    ) -> Any:
        """Fill a stage's tile with lines from ``row`` on, elements from ``first`` on; what is
        beyond the matrix is 0. (TVM leaves conditions out that always hold.)"""
        width = self.side.width or PIECE
        count = width // self.side.nbytes
        pieces = self.nbytes // width
        rows, line = self.side.size

        def fill(i: PrimExpr) -> Any:
            return tirx.BufferStore(self.gathered, self.side.fill, [i])

        def piece(item: PrimExpr) -> Any:
            own, along = tirx.floordiv(item, pieces), tirx.floormod(item, pieces)
            at_row, at = row + own, first + along * count
            to = self.place(stage, own, along * width)

            def within(i: PrimExpr) -> Any:
                return tirx.all(at_row < rows, at + i < line)

            moved = put(self.memory, to, self.gathered, number(0), width)
            if self.side.width:
                source, offset, condition = self.side.source(batch, at_row, at)
                present = within(number(0))
                if self.side.fill is None:
                    present = tirx.all(present, condition)
                copy = copy_async(self.memory, to, source, offset, width, present)
                if self.side.fill is None:
                    return copy
                padding = sequence([unrolled(count, fill), moved])
                return tirx.IfThenElse(tirx.all(present, tirx.Not(condition)), padding, copy)

            def element(i: PrimExpr) -> Any:
                value = self.side.element(batch, at_row, at + i)
                zero = tirx.const(0, self.side.dtype)
                guarded = tirx.if_then_else(within(i), value, zero)
                return tirx.BufferStore(self.gathered, guarded, [i])

            return sequence([unrolled(count, element), moved])

        return share(self.rows * pieces, threads, thread, piece)
