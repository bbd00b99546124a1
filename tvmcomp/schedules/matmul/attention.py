"""Attention in one kernel: scores of a block of query rows, softmax, times the values.

A task is one head and one block of rows. Its scores stay in the cache, transposed: ``[keys, rows]``
with the rows along the vector. So only the block's own queries are transposed, not all the keys;
softmax needs no sum across a vector; and the values are read as they lie in memory.

Blocks, in order: ``queries`` (the block's rows, transposed), ``products`` (the first matrix
product, in registers), ``scores`` (masked), ``largest``, ``exponentials``, ``total``, ``inverse``,
``mean`` (the second product, the anchor), ``normalized``, and ``crop`` where the rows are no whole
number of blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from tvmcomp.schedules.anchor import ANCHOR, element
from tvmcomp.schedules.matmul.output_axes import ROLES, roles_of, row_dimension
from tvmcomp.schedules.matmul.view import View
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr

te = tvm.te
tirx = tvm.tirx

#: Value of :data:`~tvmcomp.schedules.anchor.ANCHOR` on the weighted mean.
ATTENTION = "attention"
#: Block attribute: the query rows of a task.
ROWS_IN_BLOCK = "tvmcomp.rows_in_block"

#: Gives an element of an operand.
Element = Callable[..., Any]


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of ``softmax(query [*batch, rows, depth] key^T [keys, depth]) value [keys, width]``."""

    batch: tuple[int, ...]
    rows: int
    keys: int
    depth: int
    width: int


def attention(
    shape: AttentionShape,
    query: Element,
    key: Element,
    value: Element,
    adjust: Element,
    output: View,
    target: TargetDescription,
) -> Any:
    """Attention over float32 operands.

    Args:
        shape: the sizes.
        query: ``(*batch, row, d)`` -> element, scaled.
        key: ``(*batch, key, d)`` -> element.
        value: ``(*batch, key, e)`` -> element.
        adjust: ``(score, *batch, row, key)`` -> the score with its mask.
        output: the result ``[*batch, rows, width]`` as it is wanted.
        target: the device.

    Returns:
        A float32 TE tensor of the shape of ``output``.
    """
    batch, n = shape.batch, len(shape.batch)
    block = rows_in_block(shape, target)
    whole_rows = -(-shape.rows // block) * block

    def clamped(row: PrimExpr) -> Any:
        return row if whole_rows == shape.rows else te.min(row, shape.rows - 1)

    queries = te.compute(
        (*batch, shape.depth, whole_rows),
        lambda *i: query(*i[:n], clamped(i[n + 1]), i[n]),
        name="queries",
    )
    depth = te.reduce_axis((0, shape.depth), name="d")
    products = te.compute(
        (*batch, shape.keys, whole_rows),
        lambda *i: te.sum(
            key(*i[: n + 1], depth) * element(queries, *i[:n], depth, i[n + 1]), axis=depth
        ),
        name="products",
    )
    scores = te.compute(
        products.shape,
        lambda *i: adjust(products[i], *i[:n], clamped(i[n + 1]), i[n]),
        name="scores",
    )
    keys = [te.reduce_axis((0, shape.keys), name=f"k{i}") for i in range(3)]
    largest = te.compute(
        (*batch, whole_rows),
        lambda *i: te.max(element(scores, *i[:n], keys[0], i[n]), axis=keys[0]),
        name="largest",
    )
    exponentials = te.compute(
        products.shape,
        lambda *i: te.exp(scores[i] - element(largest, *i[:n], i[n + 1])),
        name="exponentials",
    )
    total = te.compute(
        (*batch, whole_rows),
        lambda *i: te.sum(element(exponentials, *i[:n], keys[1], i[n]), axis=keys[1]),
        name="total",
    )
    inverse = te.compute(
        (*batch, whole_rows), lambda *i: tirx.const(1, "float32") / total[i], name="inverse"
    )
    whole = list(output.shape)
    whole[row_dimension(output)] = whole_rows

    def weighted(*i: PrimExpr) -> Any:
        *at, row, column = output.index(i)
        weight = element(exponentials, *at, keys[2], row)
        return te.sum(weight * value(*at, keys[2], column), axis=keys[2])

    mean = te.compute(whole, weighted, name="mean", attrs={ANCHOR: ATTENTION, ROWS_IN_BLOCK: block})
    normalized = te.compute(
        whole,
        lambda *i: mean[i] * inverse[tuple(output.index(i)[:-1])],
        name="normalized",
        attrs={ROLES: roles_of(output)},
    )
    if whole_rows == shape.rows:
        return normalized
    return te.compute(output.shape, lambda *i: normalized[i], name="crop")


def rows_in_block(shape: AttentionShape, target: TargetDescription) -> int:
    """Query rows of a task: whole vectors, few wasted rows, and enough tasks for every core."""
    lanes = target.vector_bits // 32

    def cost(vectors: int) -> float:
        block = vectors * lanes
        tasks = prod(shape.batch) * -(-shape.rows // block)
        slowest = -(-tasks // target.cores) * block
        # With a single vector of rows, each value loaded serves one multiply-add.
        return slowest * (1 + 0.2 / vectors)

    # The scores and their exponentials are to stay in the first-level cache.
    fitting = [
        vectors
        for vectors in range(1, 5)
        if vectors == 1 or 8 * shape.keys * vectors * lanes <= 1024 * target.l1_kib
    ]
    return min(fitting, key=cost) * lanes
