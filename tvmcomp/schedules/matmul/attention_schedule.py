"""The schedule of :mod:`tvmcomp.schedules.matmul.attention`: a parallel loop of one task."""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.anchor import ANCHOR
from tvmcomp.schedules.blocking import Decide, choose_block
from tvmcomp.schedules.epilogue import vectorize_channels
from tvmcomp.schedules.matmul.attention import ROWS_IN_BLOCK
from tvmcomp.schedules.matmul.output_axes import split_by_role
from tvmcomp.schedules.matmul.register_tile import (
    accumulate_tile,
    register_tiles,
    rest_apart,
    widest_vector,
)
from tvmcomp.schedules.tir.passing_nan import LOSES_NAN
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_types import Block, Schedule

#: Choices offered to the tuner for each tile of accumulators.
_TILE_CHOICES = 6


def schedule_attention(sch: Schedule, mean: Any, target: TargetDescription, decide: Decide) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is ``mean``.

    Args:
        sch: a schedule of a fused PrimFunc.
        mean: the ``mean`` block of :func:`tvmcomp.schedules.matmul.attention.attention`.
        target: the device.
        decide: answers the choices.
    """
    lanes = target.vector_bits // 32
    (exponentials,) = sch.get_producers(mean)
    largest, scores = sorted(sch.get_producers(exponentials), key=lambda b: _rank(sch, b))
    (products,) = sch.get_producers(scores)
    (queries,) = sch.get_producers(products)
    (normalized,) = sch.get_consumers(mean)
    (inverse,) = (b for b in sch.get_producers(normalized) if ANCHOR not in sch.get(b).annotations)
    (total,) = sch.get_producers(inverse)
    final = _inline_what_follows(sch, normalized)

    # The result's loops make the tasks; what they need is computed inside.
    whole_rows = int(sch.get(queries).writes[0].source.shape[-1])
    guess = int(sch.get(mean).annotations[ROWS_IN_BLOCK])
    choices = [n for n in range(lanes, 8 * lanes + 1, lanes) if whole_rows % n == 0]
    block = decide(sch, "rows_in_block", choices, guess)
    batch, rows, columns = split_by_role(sch, normalized)
    width = int(sch.get(columns).extent)
    vector = widest_vector(width, target)
    tiles = register_tiles(block, width // vector, target, exact=True)[:_TILE_CHOICES]
    p, v = choose_block(sch, "mean_block", tiles, decide)
    blocks, row_outer, row = sch.split(rows, [None, block // p, p])
    column_outer, column, lane = sch.split(columns, [None, v, vector])
    sch.reorder(*batch, blocks, row_outer, column_outer, row, column, lane)
    task = sch.fuse(*batch, blocks)
    sch.parallel(task)
    sch.unroll(row)
    sch.unroll(column)
    sch.vectorize(lane)
    if final is not None:
        sch.reverse_compute_at(final, task)
        vectorize_channels(sch, final, target)

    sch.compute_at(mean, column_outer, preserve_unit_loops=True)
    sch.set_scope(mean, 0, "local")
    for needed in (inverse, total, exponentials, largest, scores, products, queries):
        sch.compute_at(needed, task, preserve_unit_loops=True)
    row, column, depth = sch.get_loops(mean)[-3:]
    column, lane = sch.split(column, [None, vector])
    sch.reorder(depth, row, column, lane)
    accumulate_tile(sch, mean, depth, row, column, lane)
    for needed in (inverse, exponentials, queries):
        vectorize_channels(sch, needed, target)
    sch.annotate(largest, LOSES_NAN, True)  # The total has it.
    for reduction in (total, largest):
        _reduce_across_keys(sch, reduction, lanes)
    _schedule_products(sch, products, scores, block // lanes, target, decide)


def _schedule_products(
    sch: Schedule,
    products: Any,
    scores: Any,
    vectors: int,
    target: TargetDescription,
    decide: Decide,
) -> None:
    """Keys are the rows of this product's tiles, and query rows its vectors."""
    lanes = target.vector_bits // 32
    key, row, depth = sch.get_loops(products)[-3:]
    keys = int(sch.get(key).extent)
    tiles = register_tiles(keys, vectors, target)[:_TILE_CHOICES]
    p, v = choose_block(sch, "product_block", tiles, decide)
    key_outer, key = sch.split(key, [None, p])
    row_outer, vector, lane = sch.split(row, [None, v, lanes])
    sch.reorder(key_outer, row_outer, depth, key, vector, lane)
    rest_apart(sch, key_outer, whole=keys % p == 0)
    sch.set_scope(products, 0, "local")
    sch.reverse_compute_at(scores, row_outer, preserve_unit_loops=True)
    accumulate_tile(sch, products, depth, key, vector, lane)
    key, row = sch.get_loops(scores)[-2:]
    vector, lane = sch.split(row, [None, lanes])
    sch.unroll(key)
    sch.unroll(vector)
    sch.vectorize(lane)


def _reduce_across_keys(sch: Schedule, block: Block, lanes: int) -> None:
    row, key = sch.get_loops(block)[-2:]
    vector, lane = sch.split(row, [None, lanes])
    sch.reorder(key, vector, lane)
    sch.unroll(vector)
    sch.vectorize(lane)
    vector, lane = sch.get_loops(sch.decompose_reduction(block, key))[-2:]
    sch.unroll(vector)
    sch.vectorize(lane)


def _inline_what_follows(sch: Schedule, block: Block) -> Any | None:
    """Make what follows ``block`` one block; None where nothing does.

    A value may be read several times (``x * relu6(x + 3)``): all readers but the last are inlined.
    """
    while consumers := sch.get_consumers(block):
        inner = [reader for reader in consumers if sch.get_consumers(reader)]
        if not inner:
            (last,) = consumers
            return last
        sch.compute_inline(inner[0])
    return None


def _rank(sch: Schedule, block: Block) -> int:
    return len(sch.get(block).writes[0].source.shape)
