"""A block of a matrix product's grid: its tile, and what each of its threads is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.cuda.kernel import WARP, number
from tvmcomp.schedules.cuda.product import Product
from tvmcomp.schedules.cuda.tile import Tile
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer

tirx = tvm.tirx

#: Bytes that one instruction multiplies of each line, and its rows and columns.
STEP, ROWS, COLUMNS = 32, 16, 8


@dataclass(frozen=True)
class Block:
    """One block.

    Attributes:
        product, tile: what is computed, and how it is cut.
        at: the block's indices in the grid.
        thread: the thread's number.
        memory: the shared memory, in bytes.
        partial: where sums go that other blocks have parts of; None where there are none.
    """

    product: Product
    tile: Tile
    at: tuple[Any, Any, Any]
    thread: Any
    memory: Buffer
    partial: Buffer | None

    @property
    def lane(self) -> Any:
        """The thread's number in its warp."""
        return tirx.floormod(self.thread, WARP)

    @property
    def warp_row(self) -> Any:
        """The first row of the warp in the tile."""
        warp = tirx.floordiv(self.thread, WARP)
        return tirx.floordiv(warp, self.tile.column_warps) * self.tile.warp_rows

    @property
    def warp_column(self) -> Any:
        """The first column of the warp in the tile."""
        warp = tirx.floordiv(self.thread, WARP)
        return tirx.floormod(warp, self.tile.column_warps) * self.tile.warp_columns

    @property
    def column(self) -> Any:
        """The first column of the tile."""
        return self.at[1] * self.tile.columns

    @property
    def row(self) -> Any:
        """The first row of the tile."""
        return self.at[0] * self.tile.rows

    @property
    def split(self) -> Any:
        """Which part of the depth it is."""
        batch = self.product.sizes[0]
        return tirx.floordiv(self.at[2], batch) if batch > 1 else self.at[2]

    @property
    def batch(self) -> Any:
        """The element of the batch."""
        batch = self.product.sizes[0]
        return tirx.floormod(self.at[2], batch) if batch > 1 else number(0)

    @property
    def row_parts(self) -> int:
        """Instructions that the rows of a warp take."""
        return self.tile.warp_rows // ROWS

    @property
    def column_parts(self) -> int:
        """Instructions that the columns of a warp take."""
        return self.tile.warp_columns // COLUMNS

    @property
    def sums(self) -> int:
        """Sums that a thread has."""
        return self.row_parts * self.column_parts * 4

    @property
    def step(self) -> int:
        """Elements of the depth that a step takes."""
        return self.tile.depth // self.product.left.nbytes

    @property
    def steps(self) -> int:
        """Steps of the block."""
        return -(-self.product.sizes[3] // (self.step * self.tile.splits))
