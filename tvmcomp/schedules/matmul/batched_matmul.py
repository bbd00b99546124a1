"""Matrix products of two activations: what they compute, and their schedule.

The operands are read where they lie, through views. Where the right side's columns are neighbours
in memory they are loaded as vectors; otherwise each task first packs the columns that it needs into
a panel ``[depth, lanes]`` of its own. A task is one matrix of the batch, a block of columns and
some of the rows; inside it, tiles of accumulators stay in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from tvmcomp.schedules.blocking import Decide, choose_block
from tvmcomp.schedules.conv.compute import ANCHOR, element
from tvmcomp.schedules.epilogue import accumulate_in_registers, vectorize_channels
from tvmcomp.schedules.matmul.output_axes import ROLES, roles_of, split_by_role
from tvmcomp.schedules.matmul.register_tile import (
    accumulate_tile,
    register_tiles,
    rest_apart,
    widest_vector,
)
from tvmcomp.schedules.matmul.view import View
from tvmcomp.schedules.parallel import anchor_work, worth_parallel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

te = tvm.te
tirx = tvm.tirx

#: Gives an element of an operand.
Element = Callable[..., Any]
#: Tasks a core should have, so that a slow one holds up little.
_TASKS_PER_CORE = 4
#: Choices offered to the tuner for the tile of accumulators.
_TILE_CHOICES = 8


@dataclass(frozen=True)
class MatmulShape:
    """Sizes of ``left [*batch, rows, depth] x right [*batch, depth, columns]``."""

    batch: tuple[int, ...]
    rows: int
    columns: int
    depth: int


def packs_right(shape: MatmulShape, contiguous: bool, target: TargetDescription) -> bool:
    """Whether the right side is packed: its columns are no neighbours (not ``contiguous``), or are
    no whole number of vectors of at least half the target's width."""
    lanes = target.vector_bits // 32
    return not contiguous or 2 * widest_vector(shape.columns, target) < min(lanes, shape.columns)


def pads_columns(shape: MatmulShape, packed: bool, target: TargetDescription) -> bool:
    """Whether more columns are computed than there are, and cropped."""
    return packed and shape.columns % _panel_lanes(shape, target) != 0


def _panel_lanes(shape: MatmulShape, target: TargetDescription) -> int:
    lanes = target.vector_bits // 32
    while lanes >= 2 * shape.columns:
        lanes //= 2
    return lanes


def batched_matmul(
    shape: MatmulShape,
    left: Element,
    right: Element,
    output: View,
    packed: bool,
    target: TargetDescription,
) -> Any:
    """The product of two float32 operands.

    Args:
        shape: the sizes.
        left: ``(*batch, row, k)`` -> element.
        right: ``(*batch, k, column)`` -> element.
        output: the result ``[*batch, rows, columns]`` as it is wanted; it is to be as it is where
            :func:`pads_columns`.
        packed: whether to pack the right side.
        target: the device.

    Returns:
        A float32 TE tensor of the shape of ``output``.
    """
    k = te.reduce_axis((0, shape.depth), name="k")
    n = len(shape.batch)
    attrs = {ANCHOR: "batched_matmul", ROLES: roles_of(output)}
    if not packed:

        def product(*i: Any) -> Any:
            *at, row, column = output.index(i)
            return te.sum(left(*at, row, k) * right(*at, k, column), axis=k)

        return te.compute(output.shape, product, name="matmul", attrs=attrs)
    lanes = _panel_lanes(shape, target)
    panels = -(-shape.columns // lanes)
    whole = panels * lanes == shape.columns

    def packed_element(*i: Any) -> Any:
        column = i[n] * lanes + i[n + 2]
        # What lies beyond the last column is computed, and cropped.
        column = column if whole else te.min(column, shape.columns - 1)
        return right(*i[:n], i[n + 1], column)

    panel = te.compute((*shape.batch, panels, shape.depth, lanes), packed_element, name="panel")

    def panel_product(*i: Any) -> Any:
        *at, row, column = output.index(i) if whole else i
        packed_right = element(panel, *at, column // lanes, k, column % lanes)
        return te.sum(left(*at, row, k) * packed_right, axis=k)

    computed = output.shape if whole else (*output.shape[:-1], panels * lanes)
    matmul = te.compute(computed, panel_product, name="matmul", attrs=attrs)
    if whole:
        return matmul
    return te.compute(output.shape, lambda *i: matmul[i], name="crop")


def schedule_batched_matmul(
    sch: Any, block: Any, target: TargetDescription, decide: Decide
) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is ``block``.

    Args:
        sch: a schedule of a fused PrimFunc.
        block: the ``matmul`` block of :func:`batched_matmul`.
        target: the device.
        decide: answers the choices.
    """
    work = anchor_work(sch, block, target)
    panels = sch.get_producers(block)
    epilogue = accumulate_in_registers(sch, block, target)
    batch, row, column = split_by_role(sch, block)
    depth = sch.get_loops(block)[-1]
    rows, columns = int(sch.get(row).extent), int(sch.get(column).extent)
    lanes = widest_vector(columns, target)
    if panels:
        lanes = int(sch.get(panels[0]).writes[0].source.shape[-1])
    tiles = register_tiles(rows, columns // lanes, target)[:_TILE_CHOICES]
    p, v = choose_block(sch, "block", tiles, decide)
    column_outer, vector, lane = sch.split(column, [None, v, lanes])
    tasks = prod(int(sch.get(loop).extent) for loop in (*batch, column_outer))
    parts = _parts(rows, p, tasks, bool(panels), target)
    in_part = -(-rows // (parts * p))
    part, row_outer, row = sch.split(row, [None, in_part, p])
    sch.reorder(*batch, part, column_outer, row_outer, depth, row, vector, lane)
    rest_apart(sch, row_outer, whole=rows % (in_part * p) == 0)
    task = sch.fuse(*batch, part, column_outer)
    if worth_parallel(work):
        sch.parallel(task)
    for panel in panels:
        sch.compute_at(panel, task)
        vectorize_channels(sch, panel, target)
    sch.reverse_compute_at(epilogue, row_outer)
    accumulate_tile(sch, block, depth, row, vector, lane)
    vectorize_channels(sch, epilogue, target)


def _parts(rows: int, p: int, tasks: int, packed: bool, target: TargetDescription) -> int:
    """Into how many parts the rows are divided; each packs the right side anew."""
    wanted = (1 if packed else _TASKS_PER_CORE) * target.cores
    return max(1, min(-(-wanted // tasks), rows // p))
