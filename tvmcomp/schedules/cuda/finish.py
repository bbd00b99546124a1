"""From sums to results: what follows a reduction."""

from __future__ import annotations

from typing import Any

from tvmcomp.schedules.cuda.fused import Fused
from tvmcomp.schedules.cuda.kernel import repeat, when
from tvmcomp.schedules.cuda.product import Product
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr

tirx = tvm.tirx

#: Columns of a product that a thread finishes together: 16 bytes of sums.
TOGETHER = 4


def finish_at(fused: Fused, sums: PrimExpr, at: dict[Any, Any]) -> Any:
    """Store the result whose reduction is ``sums``, at ``at`` (the anchor's axes -> index)."""
    value = fused.value(sums.astype(str(fused.anchor.buffer.dtype)), at)
    return tirx.BufferStore(fused.result.buffer, value, fused.indices(at))


def finish(product: Product, sums: Buffer, batch: PrimExpr, row: PrimExpr, column: PrimExpr) -> Any:
    """Store the results of :data:`TOGETHER` columns from ``column`` on, whose sums are the first
    elements of ``sums``; none beyond the matrix."""
    _, rows, columns, _ = product.sizes

    def store(i: PrimExpr) -> Any:
        at = product.place(batch, row, column + i)
        return finish_at(product.fused, tirx.BufferLoad(sums, [i]), at)

    if columns % TOGETHER == 0 and product.columns[-1].extent % TOGETHER == 0:
        inside = [row < rows, column < columns]
        return when(inside, repeat(TOGETHER, store, tirx.ForKind.VECTORIZED))

    def single(i: PrimExpr) -> Any:
        return when([row < rows, column + i < columns], store(i))

    return repeat(TOGETHER, single, tirx.ForKind.UNROLLED)
