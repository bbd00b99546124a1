"""A tile of accumulators in registers, for products whose operands are read where they lie."""

from __future__ import annotations

from typing import Any

from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Block, Loop, Schedule

#: Each row of a tile is read from a cache line of its own: with more rows than a cache has ways
#: they can push each other out, where the rows lie a power of two apart.
_MOST_ROWS = 8


def vector_lanes(target: TargetDescription, dtype: str = "float32") -> int:
    """Numbers of ``dtype`` in a vector of ``target``."""
    return max(1, target.vector_bits // int(tvm.DataType(dtype).bits))


def widest_vector(extent: int, target: TargetDescription, dtype: str = "float32") -> int:
    """Lanes of the widest vector that divides ``extent``, up to the target's own."""
    lanes = vector_lanes(target, dtype)
    while extent % lanes:
        lanes //= 2
    return max(lanes, 1)


def register_tiles(
    rows: int, vectors: int, target: TargetDescription, exact: bool = False
) -> list[tuple[int, int]]:
    """Tiles ``(rows, vectors)`` of accumulators that fit the registers, best first.

    A tile of ``p x v`` loads ``v`` vectors and ``p`` single values for ``p * v`` multiply-adds, and
    keeps ``v + 1`` registers for operands.

    Args:
        rows: rows in all.
        vectors: vectors in a row; ``v`` divides it.
        target: the device.
        exact: whether ``p`` must divide ``rows``.
    """
    tiles = []
    for v in (v for v in range(1, 9) if vectors % v == 0):
        for p in range(1, min(rows, _MOST_ROWS) + 1):
            if p * v + v + 1 > target.vector_registers and (p, v) != (1, 1):
                break
            if exact and rows % p:
                continue
            reuse = p * v / (p + v)
            latency = min(1.0, p * v / 8)
            rest = 0.95 if rows % p else 1.0  # The rows that are left are a loop of their own.
            tiles.append((rest * latency * reuse / (reuse + 1), p, v))
    tiles.sort(reverse=True)
    return [(p, v) for _, p, v in tiles]


def accumulate_tile(
    sch: Schedule, block: Block, depth: Loop, rows: Any, vectors: Any, lanes: Any
) -> None:
    """Unroll and vectorize the tile of ``block``, whose innermost loops these are, in this order.

    Args:
        sch: the schedule.
        block: a sum of products; its accumulators are put in registers.
        depth: the loop of its reduction.
        rows: the tile's rows.
        vectors: the tile's vectors.
        lanes: the lanes of a vector.
    """
    sch.unroll(rows)
    sch.unroll(vectors)
    sch.vectorize(lanes)
    init_loops = sch.get_loops(sch.decompose_reduction(block, depth))
    sch.unroll(init_loops[-3])
    sch.unroll(init_loops[-2])
    sch.vectorize(init_loops[-1])


def rest_apart(sch: Schedule, loop: Loop, whole: bool) -> None:
    """Where the last round of ``loop`` is not ``whole``, make it code of its own: the others then
    have no condition in them."""
    if not whole:
        sch.annotate(loop, "pragma_loop_partition_hint", 1)
