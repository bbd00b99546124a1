"""A matrix product on tensor cores.

A block computes a tile of the result. Its threads copy the operands of the steps to come into
shared memory (``cp.async``, some stages ahead) while its warps load those of this step into
registers (``ldmatrix``) and multiply them (``mma.sync``).
"""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.cuda.block import COLUMNS, ROWS, STEP, Block
from tvmcomp.schedules.cuda.finish import TOGETHER
from tvmcomp.schedules.cuda.instructions import (
    end_group,
    load_matrices,
    synchronize,
    wait_groups,
)
from tvmcomp.schedules.cuda.kernel import (
    array,
    launch,
    number,
    rolled,
    unrolled,
    when,
    with_arrays,
)
from tvmcomp.schedules.cuda.product import Product
from tvmcomp.schedules.cuda.product_results import add_partial, results
from tvmcomp.schedules.cuda.shared_tile import PIECE, SharedTile
from tvmcomp.schedules.cuda.tensor_cores import multiply
from tvmcomp.schedules.cuda.tile import Tile
from tvmcomp.schedules.rows.loop_nest import sequence
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr

tirx = tvm.tirx


def product_kernel(product: Product, tile: Tile) -> list[Any]:
    """The launches that compute ``product``, cut as ``tile``."""
    batch, rows, columns, _ = product.sizes
    # Rows come first: of the grid's dimensions only that one may be long.
    grid = [-(-rows // tile.rows), -(-columns // tile.columns), batch * tile.splits]
    partial = None
    if tile.splits > 1:
        shape = [number(n) for n in (tile.splits, batch, rows, columns)]
        partial = tirx.decl_buffer(shape, product.sums, "partial", scope="global")

    def body(at: list[Any], thread: PrimExpr) -> Any:
        return _computed(product, tile, at, thread, partial)

    main = launch(grid, tile.threads, body)
    if partial is None:
        return [main]
    return [tirx.AllocBuffer(partial), main, add_partial(product, partial, tile.splits)]


def _computed(
    product: Product, tile: Tile, at: list[Any], thread: PrimExpr, partial: Buffer | None
) -> Any:
    """The statements of a block."""
    across = product.across
    step = tile.depth // product.left.nbytes
    lines, nbytes = tile.columns, tile.depth
    if across:
        lines, nbytes = step, tile.columns * product.right.nbytes
    lefts, rights = tile.stages * tile.rows * tile.depth, tile.stages * lines * nbytes
    staged = tile.row_warps * ROWS * tile.row_of_sums
    memory = array(max(lefts + rights, staged), "uint8", "shared", "shared.dyn")
    block = Block(product, tile, (at[0], at[1], at[2]), thread, memory, partial)
    gathered = [
        array(PIECE // side.nbytes, side.dtype, f"{name}_gathered")
        for name, side in (("left", product.left), ("right", product.right))
    ]
    left = SharedTile(product.left, tile.rows, tile.depth, memory, 0, tile.stages, gathered[0])
    right = SharedTile(product.right, lines, nbytes, memory, lefts, tile.stages, gathered[1])
    sums = array(block.sums, product.sums, "sums")
    finished = array(TOGETHER, product.sums, "finished")
    multiplication = _Multiplication(block, left, right, sums)
    sides = zip(gathered, (product.left, product.right), strict=True)
    arrays = [memory, sums, finished, *multiplication.registers]
    arrays += [each for each, side in sides if side.gathers]
    zero = tirx.const(0, product.sums)
    begin = unrolled(block.sums, lambda i: tirx.BufferStore(sums, zero, [i]))
    statements = [begin, *multiplication.statements(), *results(block, sums, finished)]
    return with_arrays(arrays, statements)


class _Multiplication:
    """The sums of a block's tile."""

    def __init__(self, block: Block, left: SharedTile, right: SharedTile, sums: Buffer) -> None:
        self.block, self.left, self.right, self.sums = block, left, right, sums
        self.registers = [
            array(block.row_parts * 4, "uint32", "left_registers"),
            array(block.column_parts * 2, "uint32", "right_registers"),
        ]

    def statements(self) -> list[Any]:
        """Step by step, the operands' copies some steps ahead."""
        block, stages = self.block, self.block.tile.stages
        ahead = stages - 1

        def early(i: PrimExpr) -> Any:
            load = sequence(self.load(i, i))
            inside = [i < block.steps] if block.steps < ahead else []
            return sequence([when(inside, load), end_group()])

        def step(i: PrimExpr) -> Any:
            coming = i + ahead
            statements = [wait_groups(ahead - 1), synchronize()]
            if block.steps > ahead:
                load = sequence(self.load(tirx.floormod(coming, stages), coming))
                statements.append(when([coming < block.steps], load))
            stage = tirx.floormod(i, stages)
            parts = block.tile.depth // STEP
            statements += [end_group(), unrolled(parts, lambda k: self.multiplied(stage, k))]
            return sequence(statements)

        return [rolled(ahead, early), rolled(block.steps, step)]

    def load(self, stage: PrimExpr, step: PrimExpr) -> list[Any]:
        """Begin to fill ``stage`` with the operands of ``step``."""
        block = self.block
        first = (block.split * block.steps + step) * block.step
        common = (block.thread, block.tile.threads)
        at = (first, block.column) if block.product.across else (block.column, first)
        return [
            self.left.load(stage, block.batch, block.row, first, *common),
            self.right.load(stage, block.batch, *at, *common),
        ]

    def multiplied(self, stage: PrimExpr, k: PrimExpr) -> Any:
        """Multiply the ``k``-th 32 bytes of each line."""
        block, (lefts, rights) = self.block, self.registers
        across, dtypes = block.product.across, block.product.dtypes
        # Whose row of which of four matrices a thread gives the address of.
        within, matrix = tirx.floormod(block.lane, 8), tirx.floordiv(block.lane, 8)
        odd, high = tirx.floormod(matrix, 2), tirx.floordiv(matrix, 2)

        def left(i: PrimExpr) -> Any:
            row = block.warp_row + i * ROWS + odd * 8 + within
            place = self.left.place(stage, row, k * STEP + high * PIECE)
            return load_matrices(lefts, i * 4, block.memory, place, False)

        def right(j: PrimExpr) -> Any:
            column = block.warp_column + j * 2 * COLUMNS + high * 8
            if across:
                line = k * (STEP // 2) + odd * 8 + within
                place = self.right.place(stage, line, column * 2)
            else:
                place = self.right.place(stage, column + within, k * STEP + odd * PIECE)
            return load_matrices(rights, j * 4, block.memory, place, across)

        def row(i: PrimExpr) -> Any:
            def part(j: PrimExpr) -> Any:
                at = (i * block.column_parts + j) * 4
                return multiply(dtypes, self.sums, at, lefts, i * 4, rights, j * 2)

            return unrolled(block.column_parts, part)

        return sequence(
            [
                unrolled(block.row_parts, left),
                unrolled(block.column_parts // 2, right),
                unrolled(block.row_parts, row),
            ]
        )
