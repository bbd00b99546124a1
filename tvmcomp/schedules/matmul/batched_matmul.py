"""Matrix products of two activations, in TE.

The operands are read where they lie, through views. Where the right side's columns are neighbours
in memory they are loaded as vectors; otherwise each task first packs the columns that it needs into
a panel ``[depth, lanes]`` of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.anchor import ANCHOR, element
from tvmcomp.schedules.matmul.output_axes import ROLES, roles_of
from tvmcomp.schedules.matmul.register_tile import vector_lanes, widest_vector
from tvmcomp.schedules.matmul.view import View
from tvmcomp.schedules.tir.masked_vectors import has_masks
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

te = tvm.te
tirx = tvm.tirx

#: Value of :data:`~tvmcomp.schedules.anchor.ANCHOR` on the accumulation.
BATCHED_MATMUL = "batched_matmul"
#: Gives an element of an operand.
Element = Callable[..., Any]


@dataclass(frozen=True)
class MatmulShape:
    """Sizes of ``left [*batch, rows, depth] x right [*batch, depth, columns]``, and the type of all
    three: 32 or 64 bits wide."""

    batch: tuple[int, ...]
    rows: int
    columns: int
    depth: int
    dtype: str = "float32"


def packs_right(shape: MatmulShape, contiguous: bool, target: TargetDescription) -> bool:
    """Whether the right side is packed: its columns are no neighbours (not ``contiguous``), or the
    widest vectors that divide them are so narrow that whole ones are fewer with the packing."""
    if not contiguous:
        return True
    lanes = _panel_lanes(shape, target)
    panels, left = divmod(shape.columns, lanes)
    # A load and a store for each vector, once for all rows; what fills none is moved one by one
    # where there are no masks.
    packing = 2 * (panels + (1 if has_masks(target) else left))
    vectors = shape.columns // widest_vector(shape.columns, target, shape.dtype)
    return -(-shape.columns // lanes) * shape.rows + packing < vectors * shape.rows


def pads_columns(shape: MatmulShape, packed: bool, target: TargetDescription) -> bool:
    """Whether more columns are computed than there are, and cropped."""
    return packed and shape.columns % _panel_lanes(shape, target) != 0


def _panel_lanes(shape: MatmulShape, target: TargetDescription) -> int:
    lanes = vector_lanes(target, shape.dtype)
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
    """The product of two operands of one type.

    Args:
        shape: the sizes.
        left: ``(*batch, row, k)`` -> element.
        right: ``(*batch, k, column)`` -> element.
        output: the result ``[*batch, rows, columns]`` as it is wanted; it is to be as it is where
            :func:`pads_columns`.
        packed: whether to pack the right side.
        target: the device.

    Returns:
        A TE tensor of the shape of ``output``, of the operands' type.
    """
    k = te.reduce_axis((0, shape.depth), name="k")
    n = len(shape.batch)
    attrs = {ANCHOR: BATCHED_MATMUL, ROLES: roles_of(output)}
    if not packed:

        def product(*i: PrimExpr) -> Any:
            *at, row, column = output.index(i)
            return te.sum(left(*at, row, k) * right(*at, k, column), axis=k)

        return te.compute(output.shape, product, name="matmul", attrs=attrs)
    lanes = _panel_lanes(shape, target)
    panels = -(-shape.columns // lanes)
    whole = panels * lanes == shape.columns

    def packed_element(*i: PrimExpr) -> Any:
        column = i[n] * lanes + i[n + 2]
        value = right(*i[:n], i[n + 1], column)
        # What lies beyond the last column is computed, and cropped.
        zero = tirx.const(0, shape.dtype)
        return value if whole else tirx.if_then_else(column < shape.columns, value, zero)

    panel = te.compute((*shape.batch, panels, shape.depth, lanes), packed_element, name="panel")

    def panel_product(*i: PrimExpr) -> Any:
        *at, row, column = output.index(i) if whole else i
        packed_right = element(panel, *at, column // lanes, k, column % lanes)
        return te.sum(left(*at, row, k) * packed_right, axis=k)

    computed = output.shape if whole else (*output.shape[:-1], panels * lanes)
    matmul = te.compute(computed, panel_product, name="matmul", attrs=attrs)
    if whole:
        return matmul
    return te.compute(output.shape, lambda *i: matmul[i], name="crop")
