"""How a matrix product is cut: what a block, a warp and a step of them compute.

The one description of the choices that a build without tuning and the tuner share.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.cuda.kernel import WARP
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Schedule

#: (rows, columns, warps over the rows, warps over the columns) of a block.
TILES = (
    (128, 128, 2, 4),
    (128, 64, 2, 2),
    (64, 128, 2, 2),
    (64, 64, 2, 2),
    (64, 32, 2, 1),
    (32, 64, 1, 2),
    (32, 32, 1, 2),
    (16, 128, 1, 4),
    (16, 64, 1, 4),
    (16, 32, 1, 2),
)
#: Bytes that an element-wise product goes deep in a step of a block.
DEPTHS = (64, 128, 32)
STAGES = (3, 2, 4, 5)
#: The compute capability from which on copies to shared memory are asynchronous.
AMPERE = 80
SPLITS = (1, 2, 4, 8, 16)
#: Bytes of shared memory that every GPU gives a block without asking.
_SHARED = 48 << 10
#: Steps that a block has to make for the time that it takes to begin and to end.
_FEWEST_STEPS = 4
#: Bytes between rows of sums in shared memory.
_APART = 32
#: What loading a line of a tile costs, in sums.
_LINE = 32


@dataclass(frozen=True)
class Tile:
    """A choice.

    Attributes:
        rows, columns: of the result, that a block computes.
        row_warps, column_warps: how its warps share these.
        depth: bytes of a line that a step multiplies.
        stages: steps whose operands are in shared memory at once.
        splits: blocks that share the depth of one tile.
    """

    rows: int
    columns: int
    row_warps: int
    column_warps: int
    depth: int
    stages: int
    splits: int

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.row_warps * self.column_warps * WARP

    @property
    def warp_rows(self) -> int:
        """Rows of a warp."""
        return self.rows // self.row_warps

    @property
    def warp_columns(self) -> int:
        """Columns of a warp."""
        return self.columns // self.column_warps

    @property
    def row_of_sums(self) -> int:
        """Bytes from one row of sums in shared memory to the next, which begins at other banks."""
        return self.columns * 4 + _APART

    @property
    def shared(self) -> int:
        """Bytes of shared memory that the operands take."""
        return self.stages * (self.rows + self.columns) * self.depth


def choose_tile(
    sch: Schedule,
    sizes: tuple[int, int, int, int],
    nbytes: int,
    target: TargetDescription,
    decide: Decide,
) -> Tile:
    """The tile of a product.

    Args:
        sch: the schedule of the function, for ``decide``.
        sizes: of batch, rows, columns and depth.
        nbytes: of an element of the factors.
        target: the GPU.
        decide: answers the choices.

    Raises:
        ValueError: the choices do not fit together.
    """
    processors = max(1, target.gpu.multiprocessors)
    best = min(range(len(TILES)), key=lambda i: _cost(TILES[i], sizes, processors))
    tile = TILES[decide(sch, "tile", range(len(TILES)), best)]
    depth = decide(sch, "depth", DEPTHS, DEPTHS[0])
    # Where copies are not asynchronous, what is copied further ahead only takes room.
    ahead = STAGES[0] if target.capability >= AMPERE else 2
    stages = decide(sch, "stages", STAGES, ahead)
    splits = decide(sch, "splits", SPLITS, _splits(TILES[best], sizes, nbytes, processors))
    chosen = Tile(*tile, depth, stages, splits)
    if chosen.shared > _SHARED:
        raise ValueError(f"{chosen.shared} bytes of shared memory are more than {_SHARED}")
    if splits > 1 and splits > -(-sizes[3] * nbytes // depth):
        raise ValueError(f"{splits} blocks share the depth of a tile, which has fewer steps")
    return chosen


def _blocks(tile: tuple[int, int, int, int], sizes: tuple[int, int, int, int]) -> int:
    batch, rows, columns, _ = sizes
    return batch * -(-rows // tile[0]) * -(-columns // tile[1])


def _cost(
    tile: tuple[int, int, int, int], sizes: tuple[int, int, int, int], processors: int
) -> float:
    """The sums and loaded lines of the blocks that one multiprocessor computes in turn."""
    waves = -(-_blocks(tile, sizes) // processors)
    return waves * (prod(tile[:2]) + _LINE * (tile[0] + tile[1]))


def _splits(
    tile: tuple[int, int, int, int],
    sizes: tuple[int, int, int, int],
    nbytes: int,
    processors: int,
) -> int:
    """How often the depth is split so that no multiprocessor is idle, each part long enough."""
    steps = -(-sizes[3] * nbytes // DEPTHS[0])
    wanted = min(processors // _blocks(tile, sizes), steps // _FEWEST_STEPS)
    return max((splits for splits in SPLITS if splits <= wanted), default=1)
