"""How attention in bfloat16 is cut into tasks and blocks of query rows."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tvmcomp.schedules.amx.plan import BF16, TILE, amx_kernel
from tvmcomp.schedules.dot import DotKernel, bfloat16_kernel
from tvmcomp.schedules.matmul.attention import AttentionShape
from tvmcomp.targets import TargetDescription

#: Keys and values that a task packs take as long as so many of its rows.
_PACKING_ROWS = 12
#: With one tile of rows, each tile of keys or values that is loaded serves one product.
_SINGLE_TILE = 1.1


@dataclass(frozen=True)
class AttentionPlan:
    """Attention by products of pairs of bfloat16.

    A task is one head and ``blocks`` blocks of ``block`` query rows. It packs the head's keys and
    values first. Sizes are padded so that all vectors and tiles are whole.

    Attributes:
        shape: the sizes, as the network has them.
        kernel: the dot product of vectors; packed operands have its order.
        tiles: multiply by AMX's tiles.
        block: query rows whose scores are computed at once.
        blocks: of a task.
    """

    shape: AttentionShape
    kernel: DotKernel
    tiles: bool
    block: int
    blocks: int

    @property
    def lanes(self) -> int:
        """Float32 numbers in a vector."""
        return self.kernel.lanes

    @property
    def rows(self) -> int:
        """Query rows of a task."""
        return self.block * self.blocks

    @property
    def parts(self) -> int:
        """Tasks of a head."""
        return -(-self.shape.rows // self.rows)

    @property
    def depth(self) -> int:
        """Elements of a query or key, with zeros up to a whole tile."""
        return _round_up(self.shape.depth, 2 * self.lanes)

    @property
    def keys(self) -> int:
        """Keys, with zeros up to a whole tile."""
        return _round_up(self.shape.keys, 2 * self.lanes)

    @property
    def width(self) -> int:
        """Elements of a value, with whole vectors."""
        return _round_up(self.shape.width, self.lanes)


def plan_bfloat16_attention(
    shape: AttentionShape, target: TargetDescription
) -> AttentionPlan | None:
    """The plan for ``target``; None where x86's instructions for bfloat16 are missing."""
    kernel = bfloat16_kernel(target)
    if kernel is None or target.family != "x86":
        return None
    tiles = amx_kernel(target, kernel.data, kernel.weight) == BF16 and shape.rows >= TILE // 2

    def cost(plan: AttentionPlan) -> float:
        tasks = prod(shape.batch) * plan.parts
        rows = plan.rows * (_SINGLE_TILE if plan.block == TILE else 1)
        return -(-tasks // target.cores) * (rows + _PACKING_ROWS)

    plans = []
    for block in (TILE, 2 * TILE):
        needed = -(-shape.rows // block)
        for blocks in sorted({-(-needed // parts) for parts in range(1, needed + 1)}):
            plans.append(AttentionPlan(shape, kernel, tiles, block, blocks))
    return min(plans, key=cost)


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
