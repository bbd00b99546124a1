"""The product with a weight of 4 bits in blocks: unpacked in registers, once for a few rows.

    sums of x over each block
    for each vector of columns, on threads of their own
        for each few rows
            for each block along the depth
                chains += x * codes, over the block       unpacked once for the rows
                sums += scale * (chains - zero * sum of x over the block)

Codes lie as ``[vectors, K / 2, LANES]``: a byte holds two neighbours along the depth of one column.
A row's products are added up in several chains, as an addition waits for the one before it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from tvmcomp.schedules.parallel import worth_parallel
from tvmcomp.schedules.rows.loop_nest import (
    PARALLEL,
    SERIAL,
    array,
    index,
    loop,
    sequence,
    vector,
    with_arrays,
)
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Tensor

te, tirx = tvm.te, tvm.tirx

#: Columns that are computed at once.
LANES = 16
#: Rows that share what is unpacked, and sums that are in registers at once.
_ROWS, _CHAINS = 4, 8


def pack_columns(values: np.ndarray) -> np.ndarray:
    """``[N, D]`` as ``[vectors, D, LANES]``, the last vector filled up with zeros."""
    columns, depth = values.shape
    vectors = -(-columns // LANES)
    padded = np.zeros((vectors * LANES, depth), values.dtype)
    padded[:columns] = values
    return np.ascontiguousarray(padded.reshape(vectors, LANES, depth).transpose(0, 2, 1))


def block_product(
    x: Tensor,
    codes: Tensor,
    scales: Tensor,
    zeros: Tensor,
    block: int,
    columns: int,
    target: TargetDescription,
) -> Tensor:
    """The product as a TE tensor ``[M, columns]``.

    Args:
        x: float32 ``[M, K]``.
        codes: uint8 ``[vectors, K / 2, LANES]``.
        scales: ``[vectors, blocks, LANES]``, float32 or float16.
        zeros: uint8, likewise.
        block: codes along the depth that share a scale.
        columns: N.
        target: the device.
    """
    rows, depth = (int(size) for size in x.shape)
    work = rows * depth * columns * 32 / target.vector_bits
    kind = PARALLEL if target.cores > 1 and worth_parallel(work) else SERIAL

    def body(inputs: Any, outputs: Any) -> Any:
        x, codes, scales, zeros = inputs
        kernel = _Kernel(x, codes, scales, zeros, outputs[0], block)
        columns = loop(int(codes.shape[0]), kernel.column, kind, "column")
        return with_arrays([kernel.totals], sequence([kernel.summed(), columns]))

    return te.extern(
        [(rows, columns)], [x, codes, scales, zeros], body, dtype=["float32"], name="block_matmul"
    )


class _Kernel:
    def __init__(
        self, x: Any, codes: Any, scales: Any, zeros: Any, result: Any, block: int
    ) -> None:
        self.x, self.codes, self.scales, self.zeros, self.result = x, codes, scales, zeros, result
        self.rows, self.depth = (int(size) for size in x.shape)
        self.columns = int(result.shape[1])
        self.block = block
        self.blocks = -(-self.depth // block)
        self.totals = array([self.rows, self.blocks], "float32", "totals")

    def sizes(self) -> list[tuple[int, int, int]]:
        """The first block, how many blocks, and how long: the last one may be shorter."""
        whole, rest = divmod(self.depth, self.block)
        return [(0, whole, self.block)] * (whole > 0) + [(whole, 1, rest)] * (rest > 0)

    def summed(self) -> Any:
        """The sums of each row over each block."""

        def of(row: Any) -> Any:
            return sequence([blocks(row, *each) for each in self.sizes()])

        def blocks(row: Any, first: int, count: int, size: int) -> Any:
            return loop(count, lambda b: one(row, b + first, size), SERIAL, "b")

        def one(row: Any, b: Any, size: int) -> Any:
            clear = tirx.BufferStore(self.totals, tirx.const(0, "float32"), [row, b])

            def add(k: Any) -> Any:
                value = self.totals[row, b] + self.x[row, b * self.block + k]
                return tirx.BufferStore(self.totals, value, [row, b])

            return sequence([clear, loop(size, add, SERIAL, "k")])

        return loop(self.rows, of, SERIAL, "row")

    def column(self, at: Any) -> Any:
        """One vector of columns, of all rows."""
        whole, rest = divmod(self.rows, _ROWS)
        pieces = []
        if whole:
            pieces.append(loop(whole, lambda i: self.tile(at, i * _ROWS, _ROWS), SERIAL, "rows"))
        if rest:
            pieces.append(self.tile(at, index(whole * _ROWS), rest))
        return sequence(pieces)

    def tile(self, at: Any, first: Any, rows: int) -> Any:
        """``rows`` rows of one vector of columns."""
        sums = [array([LANES], "float32", f"sums{row}") for row in range(rows)]
        pieces = [_cleared(each) for each in sums]
        arrays = list(sums)
        for start, count, size in self.sizes():
            unrolled = math.gcd(max(_CHAINS // (2 * rows), 1), size // 2)
            chains = [
                [array([LANES], "float32", f"chain{row}_{i}") for i in range(2 * unrolled)]
                for row in range(rows)
            ]
            codes = [array([LANES], "float32", f"code{i}") for i in range(2 * unrolled)]
            arrays += [*codes, *(each for row in chains for each in row)]
            body = partial(self.one_block, at, first, start, size, sums, chains, codes)
            pieces.append(loop(count, body, SERIAL, "block"))
        pieces += [self.given(at, first + row, each) for row, each in enumerate(sums)]
        return with_arrays(arrays, sequence(pieces))

    def one_block(
        self,
        at: Any,
        first: Any,
        start: int,
        size: int,
        sums: list[Any],
        chains: list[list[Any]],
        codes: list[Any],
        place: Any,
    ) -> Any:
        """Add the products of the block ``start + place`` to ``sums``."""
        b = place + start
        unrolled = len(codes) // 2

        def step(k: Any) -> Any:
            """So many pairs of neighbours along the depth."""
            statements = []
            for i in range(unrolled):
                pair = b * (self.block // 2) + k * unrolled + i
                statements.append(self.unpack(at, pair, codes[2 * i : 2 * i + 2]))
            for row, own in enumerate(chains):
                for i, chain in enumerate(own):
                    x = self.x[first + row, b * self.block + k * (2 * unrolled) + i]
                    statements.append(_added(chain, x, codes[i]))
            return sequence(statements)

        clear = [_cleared(chain) for own in chains for chain in own]
        inner = loop(size // (2 * unrolled), step, SERIAL, "k")
        scaled = [self.scaled(at, b, first + row, *each)
                  for row, each in enumerate(zip(sums, chains, strict=True))]  # fmt: skip
        return sequence([*clear, inner, *scaled])

    def unpack(self, at: Any, pair: Any, codes: list[Any]) -> Any:
        """The two codes of each byte as float32."""

        def both(lane: Any) -> Any:
            byte = tirx.Cast("int32", self.codes[at, pair, lane])
            low, high = byte & tirx.const(15, "int32"), byte >> tirx.const(4, "int32")
            return sequence(
                [
                    tirx.BufferStore(into, tirx.Cast("float32", code), [lane])
                    for into, code in zip(codes, (low, high), strict=True)
                ]
            )

        return vector(LANES, both)

    def scaled(self, at: Any, b: Any, row: Any, sums: Any, chains: list[Any]) -> Any:
        """Add a block's chains, in its scale and from its zero."""

        def add(lane: Any) -> Any:
            scale = tirx.Cast("float32", self.scales[at, b, lane])
            zero = tirx.Cast("float32", self.zeros[at, b, lane])
            parts = [chain[lane] for chain in chains]
            while len(parts) > 1:
                parts = [sum(parts[i + 1 : i + 2], parts[i]) for i in range(0, len(parts), 2)]
            value = sums[lane] + scale * (parts[0] - zero * self.totals[row, b])
            return tirx.BufferStore(sums, value, [lane])

        return vector(LANES, add)

    def given(self, at: Any, row: Any, sums: Any) -> Any:
        """Store a row; the last vector may be cut off."""

        def store(lane: Any) -> Any:
            return tirx.BufferStore(self.result, sums[lane], [row, at * LANES + lane])

        if self.columns % LANES == 0:
            return vector(LANES, store)
        left = tirx.min(index(LANES), index(self.columns) - at * LANES)
        lane = tirx.Var("lane", "int64")
        return tirx.For(lane, index(0), left, SERIAL, store(lane))


def _added(chain: Any, x: Any, codes: Any) -> Any:
    """Add ``x`` times a vector of codes."""
    return vector(
        LANES, lambda lane: tirx.BufferStore(chain, chain[lane] + x * codes[lane], [lane])
    )


def _cleared(values: Any) -> Any:
    zero = tirx.const(0, "float32")
    return vector(LANES, lambda lane: tirx.BufferStore(values, zero, [lane]))
