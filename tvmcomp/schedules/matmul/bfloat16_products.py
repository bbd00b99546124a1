"""Products of bfloat16 matrices in a task's own buffers, by AMX's tiles or in vectors.

The right side is packed ``[columns/lanes, depth/2, 2 lanes]``: pairs of neighbours along the
depth, side by side for ``lanes`` columns, which is what a row of a tile holds and what
``vdpbf16ps`` takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.amx import tiles
from tvmcomp.schedules.amx.conv import for_pairs
from tvmcomp.schedules.amx.plan import BF16, ROW_BYTES, TILE
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.dot_intrinsic import EMITTED
from tvmcomp.schedules.matmul.register_tile import register_tiles
from tvmcomp.schedules.tir.loops import serial, whole
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer

tirx = tvm.tirx
T = tirx.script.builder


@dataclass(frozen=True)
class Product:
    """``sums[first + row] = left [rows, depth] x right``, of zeros beyond ``steps`` pairs.

    Attributes:
        left: uint16 ``[rows, depth]``.
        right: uint16, packed.
        sums: float32 ``[rows', columns]``.
        first: where in ``sums`` the rows begin.
        steps: pairs along the depth that are not all zero.
    """

    left: Buffer
    right: Buffer
    sums: Buffer
    first: Any
    steps: int

    @property
    def rows(self) -> int:
        """Rows of the left side."""
        return int(self.left.shape[0])

    @property
    def panels(self) -> int:
        """Vectors of columns."""
        return int(self.right.shape[0])


def configure_tiles(memory: Buffer) -> None:
    """Emit what makes the tiles usable; overwrites 64 bytes of the float32 ``memory``."""
    zeros = [0] * (len(memory.shape) - 1)
    for i, word in enumerate(tiles.configuration(TILE, TILE, ROW_BYTES // 4)):
        value = tirx.const(0, "float32")
        if word:
            value = tirx.reinterpret("float32", tirx.const(word, "int32"))
        T.buffer_store(memory, value, [*zeros, i])
    T.evaluate(tiles.configure(memory.access_ptr("r")))


def multiply_tiles(product: Product) -> None:
    """Emit ``product`` in tiles: its rows, columns and depth are whole ones."""
    depth, columns = int(product.left.shape[1]), int(product.sums.shape[1])

    def register_block(row: Any, count_m: int, panel: Any, count_n: int) -> None:
        pairs = [(m, n) for m in range(count_m) for n in range(count_n)]
        for m, n in pairs:
            T.evaluate(tiles.zero(tiles.ACCUMULATORS + 2 * m + n))
        with serial(depth // BF16.depth) as step:
            for m in range(count_m):
                offset = (row + m) * (TILE * depth) + step * BF16.depth
                address = product.left.access_ptr("r", offset=offset)
                T.evaluate(tiles.load(tiles.LEFT + m, address, depth * BF16.item_bytes))
            for n in range(count_n):
                offset = (panel + n) * (depth * TILE) + step * (BF16.depth * TILE)
                address = product.right.access_ptr("r", offset=offset)
                T.evaluate(tiles.load(tiles.RIGHT + n, address, ROW_BYTES))
            for m, n in pairs:
                accumulator = tiles.ACCUMULATORS + 2 * m + n
                left, right = tiles.LEFT + m, tiles.RIGHT + n
                T.evaluate(tiles.multiply(BF16.instruction, accumulator, left, right))
        for m, n in pairs:
            offset = (product.first + (row + m) * TILE) * columns + (panel + n) * TILE
            address = product.sums.access_ptr("w", offset=offset)
            T.evaluate(tiles.store(tiles.ACCUMULATORS + 2 * m + n, address, columns * 4))

    for_pairs(
        product.panels,
        lambda n, count_n: for_pairs(
            product.rows // TILE, lambda m, count_m: register_block(m, count_m, n, count_n)
        ),
    )


def multiply_vectors(product: Product, kernel: DotKernel, target: TargetDescription) -> None:
    """Emit ``product`` with ``kernel``, a tile of accumulators in registers at a time."""
    assert kernel.intrin is not None
    lanes = kernel.lanes
    p, v = register_tiles(product.rows, product.panels, target, exact=True)[0]
    acc = T.sblock_alloc_buffer((p * v * lanes,), kernel.acc, scope="local")

    def register(i: int, j: int) -> Any:
        return tirx.Ramp(whole((i * v + j) * lanes), whole(1), lanes)

    with serial(product.rows // p) as block, serial(product.panels // v) as group:
        for i in range(p):
            for j in range(v):
                zero = tirx.Broadcast(tirx.const(0, kernel.acc), lanes)
                T.buffer_store(acc, zero, [register(i, j)])
        with serial(product.steps) as step:
            for i in range(p):
                pair = tirx.Ramp(step * 2, whole(1), 2)
                data = tirx.BufferLoad(product.left, [block * p + i, pair])
                for j in range(v):
                    weight = tirx.BufferLoad(
                        product.right,
                        [group * v + j, step, tirx.Ramp(whole(0), whole(1), 2 * lanes)],
                    )
                    before = tirx.BufferLoad(acc, [register(i, j)])
                    after = EMITTED[kernel.intrin](data, weight, before)
                    T.buffer_store(acc, after, [register(i, j)])
        for i in range(p):
            for j in range(v):
                columns = tirx.Ramp((group * v + j) * lanes, whole(1), lanes)
                place = [product.first + block * p + i, columns]
                T.buffer_store(product.sums, tirx.BufferLoad(acc, [register(i, j)]), place)
