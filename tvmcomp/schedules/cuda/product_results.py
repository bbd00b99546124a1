"""From the sums in a block's registers to the results of a matrix product.

The sums go through shared memory, 16 rows of each warp at a time, so that neighbouring threads
finish neighbouring columns. Where blocks share the depth of a tile they write them to memory, and
a second kernel adds and finishes them.
"""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.cuda.block import COLUMNS, ROWS, Block
from tvmcomp.schedules.cuda.finish import TOGETHER, finish
from tvmcomp.schedules.cuda.instructions import put, synchronize, take, wait_groups
from tvmcomp.schedules.cuda.kernel import (
    THREADS,
    array,
    launch,
    number,
    repeat,
    share,
    unrolled,
    when,
    with_arrays,
)
from tvmcomp.schedules.cuda.product import Product
from tvmcomp.schedules.rows.loop_nest import sequence
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr

tirx = tvm.tirx


def results(block: Block, sums: Buffer, finished: Buffer) -> list[Any]:
    """What becomes of ``sums``, by the threads of ``block``.

    Args:
        block: the block.
        sums: its threads' arrays.
        finished: an array for the sums that a thread finishes at once.
    """
    tile, staged, lane = block.tile, block.tile.row_of_sums, block.lane
    rows = tile.row_warps * ROWS
    pieces = tile.columns // TOGETHER
    # The warp's rows of this turn, among those of the other warps.
    warp_row = tirx.floordiv(block.warp_row, tile.warp_rows) * ROWS

    def turn(i: PrimExpr) -> Any:
        def stage(j: PrimExpr) -> Any:
            both = []
            for half in range(2):
                row = warp_row + half * 8 + tirx.floordiv(lane, 4)
                column = block.warp_column + j * COLUMNS + tirx.floormod(lane, 4) * 2
                first = ((i * block.column_parts + j) * 4 + half * 2) * 4
                both.append(put(block.memory, row * staged + column * 4, sums, first, 8))
            return sequence(both)

        def item(at: PrimExpr) -> Any:
            own, column = tirx.floordiv(at, pieces), tirx.floormod(at, pieces) * TOGETHER
            place = own * staged + column * 4
            warp, within = tirx.floordiv(own, ROWS), tirx.floormod(own, ROWS)
            row = block.row + warp * tile.warp_rows + i * ROWS + within
            return sequence(
                [
                    take(finished, number(0), block.memory, place, 16),
                    _finished(block, finished, row, block.column + column),
                ]
            )

        return sequence(
            [
                synchronize(),
                unrolled(block.column_parts, stage),
                synchronize(),
                share(rows * pieces, tile.threads, block.thread, item),
            ]
        )

    return [wait_groups(0), unrolled(block.row_parts, turn)]


def _finished(block: Block, finished: Buffer, row: PrimExpr, column: PrimExpr) -> Any:
    """Results of the sums in ``finished``, or sums that are added to those of other blocks."""
    partial = block.partial
    if partial is None:
        return finish(block.product, finished, block.batch, row, column)
    _, rows, columns, _ = block.product.sizes

    def store(i: PrimExpr) -> Any:
        to = [block.split, block.batch, row, column + i]
        stored = tirx.BufferStore(partial, tirx.BufferLoad(finished, [i]), to)
        return stored if whole else when([column + i < columns], stored)

    whole = columns % TOGETHER == 0
    kind = tirx.ForKind.VECTORIZED if whole else tirx.ForKind.UNROLLED
    return when([row < rows, column < columns], repeat(TOGETHER, store, kind))


def add_partial(product: Product, partial: Buffer, splits: int) -> Any:
    """The launch that adds the sums of the blocks that shared a tile, and finishes them."""
    batches, rows, columns, _ = product.sizes
    pieces = -(-columns // TOGETHER)
    items = batches * rows * pieces

    def body(at: list[Any], thread: PrimExpr) -> Any:
        item = at[0] * THREADS + thread
        line, column = tirx.floordiv(item, pieces), tirx.floormod(item, pieces) * TOGETHER
        batch, row = tirx.floordiv(line, rows), tirx.floormod(line, rows)
        finished = array(TOGETHER, product.sums, "finished")
        zero = tirx.const(0, product.sums)

        def added(i: PrimExpr) -> Any:
            total: Any = zero
            for split in range(splits):
                total += tirx.BufferLoad(partial, [number(split), batch, row, column + i])
            if columns % TOGETHER:
                total = tirx.if_then_else(column + i < columns, total, zero)
            return tirx.BufferStore(finished, total, [i])

        kind = tirx.ForKind.UNROLLED if columns % TOGETHER else tirx.ForKind.VECTORIZED
        statements = [
            repeat(TOGETHER, added, kind),
            finish(product, finished, batch, row, column),
        ]
        return with_arrays([finished], [when([item < items], sequence(statements))])

    return launch([-(-items // THREADS)], THREADS, body)
