"""Attention in bfloat16, in one kernel: products of bfloat16, softmax in float32 registers.

A task is a head and some blocks of query rows (:mod:`~tvmcomp.schedules.matmul.bfloat16_plan`).
It packs the head's keys and values in pairs; then, a block at a time: scores by the first product,
in float32 that stays in the cache; their exponentials, rounded to bfloat16 as they are made; the
second product; and its rows divided by the sums of the exponentials.

Two blocks, as in :mod:`tvmcomp.schedules.amx.conv`: ``attention``, the anchor, one instance a task,
written out; and ``crop``, which picks the result's elements and is what an epilogue fuses with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.schedules.amx import tiles
from tvmcomp.schedules.anchor import ANCHOR
from tvmcomp.schedules.bfloat16 import BITS, READS_FLOAT32, round_to_bfloat16
from tvmcomp.schedules.matmul.bfloat16_plan import AttentionPlan
from tvmcomp.schedules.matmul.bfloat16_products import (
    Product,
    configure_tiles,
    multiply_tiles,
    multiply_vectors,
)
from tvmcomp.schedules.matmul.output_axes import ROLES, roles_of
from tvmcomp.schedules.matmul.pair_packing import copy_row, pack_interleaved, pack_transposed
from tvmcomp.schedules.matmul.view import View
from tvmcomp.schedules.op_pattern import OpPattern
from tvmcomp.schedules.tir.loops import serial, vectorized, whole
from tvmcomp.schedules.tir.passing_nan import LOSES_NAN
from tvmcomp.schedules.tir.vector_math import ROUGH_EXP
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Buffer, PrimExpr

tirx = tvm.tirx
T = tirx.script.builder

#: Value of :data:`~tvmcomp.schedules.anchor.ANCHOR` on the task.
BFLOAT16_ATTENTION = "bfloat16_attention"
#: Block attribute: query rows of a task.
ROWS_IN_TASK = "tvmcomp.rows_in_task"
#: Bytes: keeps what tiles are loaded from off the stack, where TVM would align it to 16.
_ALIGNMENT = 128

#: Gives an element of an operand.
Element = Callable[..., Any]


@dataclass(frozen=True)
class AttentionOperands:
    """What attention reads: ``(*batch, row, column)`` -> element.

    Attributes:
        query, key, value: ``[rows, depth]``, ``[keys, depth]``, ``[keys, width]``: bits of
            bfloat16.
        adjust: ``(score, *batch, row, key)`` -> the score, scaled and masked.
    """

    query: Element
    key: Element
    value: Element
    adjust: Element


def bfloat16_attention(
    plan: AttentionPlan,
    sources: Sequence[tuple[tuple[int, ...], str]],
    operands: Callable[[Sequence[Any]], AttentionOperands],
    output: View,
    target: TargetDescription,
) -> Any:
    """A PrimFunc ``(*sources, output)``.

    Args:
        plan: how it is cut.
        sources: shape and dtype of the tensors that the operands are read from.
        operands: gives the operands as elements of these tensors.
        output: the result ``[*batch, rows, width]`` as it is wanted, in float32.
        target: the device.
    """
    batch = plan.shape.batch
    space = [whole(n) for n in (*batch, plan.parts)]
    shape = [whole(n) for n in (plan.rows, plan.width)]
    with tvm.script.ir_builder.IRBuilder() as ib, T.prim_func(is_private=True, s_tir=True):
        pattern = int(OpPattern.OUT_FUSABLE)
        T.func_attr({"tirx.noalias": True, "op_pattern": pattern, READS_FLOAT32: True})
        tensors = [
            T.arg(f"source{i}", T.buffer([whole(n) for n in size], dtype))
            for i, (size, dtype) in enumerate(sources)
        ]
        wanted = T.arg("output", T.buffer([whole(n) for n in output.shape], "float32"))
        result = T.sblock_alloc_buffer((*space, *shape), "float32", align=_ALIGNMENT)
        with T.grid(*space) as loops, T.sblock("attention"):
            at = [T.axis.spatial(n, loop) for n, loop in zip(space, loops, strict=True)]
            # compute_at wants each dimension of the result to be some block axis' business.
            zeros = [T.axis.spatial(whole(1), whole(0)) for _ in shape]
            rest = [slice(z * n, z * n + n) for z, n in zip(zeros, shape, strict=True)]
            region = (*at, *rest)
            mine = result[region]
            T.reads(*(tensor[tuple(slice(0, int(n)) for n in tensor.shape)] for tensor in tensors))
            T.writes(mine)
            T.sblock_attr(
                {
                    ANCHOR: BFLOAT16_ATTENTION,
                    ROLES: roles_of(output),
                    ROWS_IN_TASK: plan.rows,
                    LOSES_NAN: True,  # The sum of the exponentials has it.
                }
            )
            local = T.match_buffer(
                mine, shape, "float32", strides=[shape[1], whole(1)], offset_factor=1
            )
            _Task(plan, operands(tensors), local, at, target).emit()
        with T.grid(*wanted.shape) as loops, T.sblock("crop"):
            at = [T.axis.spatial(n, i) for n, i in zip(wanted.shape, loops, strict=True)]
            *head, row, column = output.index(at)
            place = (*head, row // plan.rows, row % plan.rows, column)
            T.buffer_store(wanted, result[place], at)
    return ib.get()


class _Task:
    """What one task does: ``at`` is its batch, and its part of the rows."""

    def __init__(
        self,
        plan: AttentionPlan,
        operands: AttentionOperands,
        result: Buffer,
        at: Sequence[Any],
        target: TargetDescription,
    ) -> None:
        self.plan, self.operands, self.result, self.target = plan, operands, result, target
        *self.batch, self.part = at
        lanes, pairs = plan.lanes, 2 * plan.lanes

        def buffer(shape: tuple[int, ...], dtype: str) -> Any:
            return T.sblock_alloc_buffer(shape, dtype, align=_ALIGNMENT)

        self.keys = buffer((plan.keys // lanes, plan.depth // 2, pairs), BITS)
        self.values = buffer((plan.width // lanes, plan.keys // 2, pairs), BITS)
        self.queries = buffer((plan.block, plan.depth), BITS)
        self.scores = buffer((plan.block, plan.keys), "float32")
        self.weights = buffer((plan.block, plan.keys), BITS)
        self.inverses = buffer((plan.block,), "float32")
        self.largest, self.total, self.current = (
            T.sblock_alloc_buffer((lanes,), "float32", scope="local") for _ in range(3)
        )

    def emit(self) -> None:
        plan, shape, operands = self.plan, self.plan.shape, self.operands

        def of(element: Element) -> Element:
            return lambda row, column: element(*self.batch, row, column)

        if plan.tiles:
            configure_tiles(self.scores)
        pack_transposed(self.keys, of(operands.key), shape.keys, shape.depth, plan.lanes)
        pack_interleaved(self.values, of(operands.value), shape.keys, shape.width, plan.lanes)
        with serial(plan.block) as row:
            copy_row(self.weights, row, of(operands.query), row, 0, 2 * plan.lanes)
        with serial(plan.blocks) as block:
            first = self.part * plan.rows + block * plan.block
            with serial(plan.block) as row:
                known = self.known(first + row)
                copy_row(self.queries, row, of(operands.query), known, shape.depth, 2 * plan.lanes)
            self.multiply(self.queries, self.keys, self.scores, whole(0), shape.depth)
            with serial(plan.block) as row:
                self.softmax(row, self.known(first + row))
            begin = block * plan.block
            self.multiply(self.weights, self.values, self.result, begin, shape.keys)
            with serial(plan.block) as row, serial(plan.width // plan.lanes) as panel:
                self.normalize(row, [begin + row, panel * plan.lanes])
        if plan.tiles:
            T.evaluate(tiles.release())

    def normalize(self, row: Any, place: Sequence[Any]) -> None:
        """Divide a vector of the result, which begins at ``place``, by the row's sum."""
        with vectorized(self.plan.lanes) as lane:
            at = [place[0], place[1] + lane]
            T.buffer_store(self.result, self.result[tuple(at)] * self.inverses[row], at)

    def known(self, row: Any) -> Any:
        """The query row, or the last one where there are no more."""
        if self.plan.parts * self.plan.rows == self.plan.shape.rows:
            return row
        return T.min(row, whole(self.plan.shape.rows - 1))

    def multiply(self, left: Buffer, right: Buffer, sums: Buffer, first: Any, depth: int) -> None:
        product = Product(left, right, sums, first, -(-depth // 2))
        if self.plan.tiles:
            multiply_tiles(product)
        else:
            multiply_vectors(product, self.plan.kernel, self.target)

    def softmax(self, row: Any, query: Any) -> None:
        """Exponentials of a row of scores, rounded, and the inverse of their sum."""
        lanes, keys = self.plan.lanes, self.plan.shape.keys
        lowest = tirx.const(float("-inf"), "float32")
        with vectorized(lanes) as lane:
            T.buffer_store(self.largest, lowest, [lane])
            T.buffer_store(self.total, tirx.const(0, "float32"), [lane])

        def adjust(begin: Any, whole_vector: bool) -> None:
            with vectorized(lanes) as lane:
                key = begin + lane
                known = key if whole_vector else T.min(key, whole(keys - 1))
                value = self.operands.adjust(self.scores[row, key], *self.batch, query, known)
                if not whole_vector:
                    value = tirx.Select(key < keys, value, lowest)
                T.buffer_store(self.scores, value, [row, key])
                larger = T.max(self.largest[lane], self.scores[row, key])
                T.buffer_store(self.largest, larger, [lane])

        if keys >= lanes:
            with serial(keys // lanes) as panel:
                adjust(panel * lanes, True)
        if keys % lanes:
            adjust(whole(keys - keys % lanes), False)
        self.fold(self.largest, T.max)
        with serial(-(-keys // lanes)) as panel:
            # A loop each: TVM makes an array that one loop alone uses as small as an iteration.
            with vectorized(lanes) as lane:
                score = self.scores[row, panel * lanes + lane]
                T.buffer_store(self.current, _rough_exp(score - self.largest[0]), [lane])
            with vectorized(lanes) as lane:
                T.buffer_store(self.total, self.total[lane] + self.current[lane], [lane])
            with vectorized(lanes) as lane:
                weight = round_to_bfloat16(self.current[lane])
                T.buffer_store(self.weights, weight, [row, panel * lanes + lane])
        self.fold(self.total, lambda a, b: a + b)
        T.buffer_store(self.inverses, tirx.const(1, "float32") / self.total[0], [row])

    def fold(self, vector: Buffer, combine: Callable[[PrimExpr, PrimExpr], Any]) -> None:
        """Combine the lanes of ``vector`` into its first."""
        width = self.plan.lanes // 2
        while width:
            with vectorized(width) as lane:
                T.buffer_store(vector, combine(vector[lane], vector[lane + width]), [lane])
            width //= 2


def _rough_exp(value: PrimExpr) -> Any:
    return tirx.call_intrin("float32", ROUGH_EXP, value)
