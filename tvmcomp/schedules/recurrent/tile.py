"""How a recurrent product is cut up: the state of some rows times the weights of some units.

A block is some vectors of units, of all gates: when its sums are there, its units' new state is
computed. Within a block a tile holds ``rows`` x ``columns`` sums in registers, and walks over the
state. The weights lie in memory as they are read: block by block, tile by tile, and then by the
state's elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tvmcomp.schedules.dot import DotKernel
from tvmcomp.targets import TargetDescription

#: Vectors of units in a block, and of sums in a tile of one row, at most: code is made for each.
_MOST_UNITS = 4
_MOST_COLUMNS = 12
_MOST_ROWS = 8
#: Multiply-adds a cycle, cycles until a sum can be added to again, bytes of weights a cycle.
_ISSUED, _LATENCY, _STREAM = 2, 4, 32
#: What is not the bottleneck counts a little.
_OTHERS = 0.1
#: Where the sums of a block go through memory, those of a larger one are further from the core by
#: the time they are read: 256 and 512 units of 8 rows ran 5 to 10% slower for each vector more.
_LARGER_BLOCK = 0.05


@dataclass(frozen=True)
class Tile:
    """The sizes of blocks and tiles.

    Attributes:
        lanes: units in a vector.
        vectors: of units in a block.
        gates: of a unit.
        columns: vectors of sums in a tile; they divide the block's ``gates * vectors``.
        rows: of the batch in a tile.
        units: of the layer.
        depth: elements of the state that an instruction reduces.
    """

    lanes: int
    vectors: int
    gates: int
    columns: int
    rows: int
    units: int
    depth: int = 1

    @property
    def steps(self) -> int:
        """Instructions that a sum takes."""
        return -(-self.units // self.depth)

    @property
    def block(self) -> int:
        """Units in a block."""
        return self.lanes * self.vectors

    @property
    def blocks(self) -> int:
        """Blocks; the last one may not be full."""
        return -(-self.units // self.block)

    @property
    def tiles(self) -> int:
        """Tiles in a block."""
        return self.gates * self.vectors // self.columns

    def column(self, tile: int, number: int) -> tuple[int, int]:
        """Gate and vector of units of the column ``number`` of a block's ``tile``."""
        return divmod(tile * self.columns + number, self.vectors)

    def order(self, rows: int) -> list[tuple[int, int]]:
        """Row and column of the sums of the first ``rows`` in the order of their multiply-adds: the
        operands of which there are fewer stay in registers, each of the others is used up."""
        if rows > self.columns:
            return [(r, c) for r in range(rows) for c in range(self.columns)]
        return [(r, c) for c in range(self.columns) for r in range(rows)]


def lanes_of(units: int, bits: int, target: TargetDescription) -> int:
    """Units in a vector of numbers of ``bits``: no more than there are, in powers of two."""
    lanes = max(1, target.vector_bits // bits)
    while lanes // 2 >= units:
        lanes //= 2
    return lanes


def choose_tile(
    units: int,
    gates: int,
    batch: int,
    bits: int,
    target: TargetDescription,
    kernel: DotKernel | None = None,
) -> Tile:
    """The tile that takes the fewest cycles by estimate.

    Args:
        units: of the layer.
        gates: of a unit.
        batch: rows.
        bits: of a weight.
        target: the device.
        kernel: the dot product of a product in integers.
    """
    lanes, depth = (kernel.lanes, kernel.depth) if kernel else (lanes_of(units, bits, target), 1)
    registers = target.vector_registers - (kernel.temporaries if kernel else 0)
    found = [
        Tile(lanes, vectors, gates, columns, rows, units, depth)
        for vectors in range(1, _MOST_UNITS + 1)
        for rows in _row_counts(batch)
        for columns in range(1, _MOST_COLUMNS + 1)
        if gates * vectors % columns == 0 and _fits(rows, columns, registers)
    ]
    return min(found, key=lambda tile: (_cycles(tile, batch, bits), tile.rows * tile.columns))


def _row_counts(batch: int) -> Iterator[int]:
    for tiles in range(1, batch + 1):
        rows = -(-batch // tiles)
        if rows <= _MOST_ROWS:
            yield rows


def _fits(rows: int, columns: int, registers: int) -> bool:
    # With one row each weight is used once, from memory.
    operands = min(rows, columns) + 1
    return rows * columns + operands <= registers


def _cycles(tile: Tile, batch: int, bits: int) -> float:
    """Of a step, by estimate."""
    sums = tile.rows * tile.columns
    costs = sorted(
        [
            sums / _ISSUED,
            float(_LATENCY),
            (tile.rows + tile.columns) / _ISSUED,
            tile.columns * tile.lanes * tile.depth * bits / 8 / _STREAM,
        ]
    )
    one = costs[-1] + _OTHERS * sum(costs[:-1])
    if tile.rows > 1:
        one *= 1 + _LARGER_BLOCK * (tile.vectors - 1)
    return one * tile.tiles * tile.blocks * -(-batch // tile.rows) * tile.steps
