"""What an attention kernel reads: elements of its operands, traced back to tensors in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvmcomp.passes.lowering.attention_pattern import Attention
from tvmcomp.passes.lowering.operands import Operand, trace_operand, trace_view
from tvmcomp.passes.rewriter import shape_of
from tvmcomp.schedules.matmul.attention import AttentionShape
from tvmcomp.schedules.matmul.bfloat16_attention import AttentionOperands
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Expr, Var

tirx = tvm.tirx


@dataclass(frozen=True)
class Tensors:
    """The TE tensors, or buffers, that stand for the sources of a kernel's operands."""

    sources: Sequence[Any]
    tensors: Sequence[Any]

    def element(self, operand: Operand, shape: Sequence[int]) -> Callable[..., Any]:
        """Gives an element of ``operand`` broadcast to ``shape``, at its indices."""
        tensor = next(
            tensor
            for source, tensor in zip(self.sources, self.tensors, strict=True)
            if source.same_as(operand.source)
        )
        view = operand.view.broadcast(shape)
        return lambda *at: tensor[tuple(view.index(at))]


@dataclass(frozen=True)
class TracedAttention:
    """An attention whose operands are known as views of tensors.

    Attributes:
        found: the attention.
        query, key, value: operands; the key is transposed.
        masks: of each step on the scores, the operand or the number.
    """

    found: Attention
    query: Operand
    key: Operand
    value: Operand
    masks: tuple[Operand | float, ...]

    @staticmethod
    def of(found: Attention, producer: Mapping[Var, Expr]) -> TracedAttention:
        """Trace the operands of ``found``; ``producer``: variable -> the value bound to it."""
        masks = (
            step.operand if isinstance(step.operand, float) else trace_view(step.operand, producer)
            for step in found.steps
        )
        query, key = (trace_operand(arg, producer) for arg in (found.query, found.key))
        return TracedAttention(found, query, key, trace_view(found.value, producer), tuple(masks))

    @property
    def shape(self) -> AttentionShape:
        """The sizes."""
        *batch, rows, width = shape_of(self.found.var)
        keys, depth = shape_of(self.found.key)[-1], shape_of(self.found.query)[-1]
        return AttentionShape(tuple(batch), rows, keys, depth, width)

    @property
    def multiplied(self) -> tuple[Operand, ...]:
        """What is multiplied."""
        return self.query, self.key, self.value

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What is multiplied, then masks."""
        return *self.multiplied, *(mask for mask in self.masks if isinstance(mask, Operand))

    def elements(self, tensors: Tensors, scaled_scores: bool) -> AttentionOperands:
        """The operands as elements of ``tensors``.

        Args:
            tensors: what they are read from.
            scaled_scores: put the operands' scale into the scores, and not into the queries.
        """
        shape = self.shape
        queries = tensors.element(self.query, (*shape.batch, shape.rows, shape.depth))
        transposed_keys = tensors.element(self.key, (*shape.batch, shape.depth, shape.keys))
        scores = (*shape.batch, shape.rows, shape.keys)
        others = [
            mask if isinstance(mask, float) else tensors.element(mask, scores)
            for mask in self.masks
        ]
        scale = self.query.scale * self.key.scale

        def times_scale(value: Any) -> Any:
            return value if scale == 1 else value * tirx.const(scale, "float32")

        def adjust(score: Any, *at: Any) -> Any:
            score = times_scale(score) if scaled_scores else score
            for step, other in zip(self.found.steps, others, strict=True):
                number = tirx.const(other, "float32") if isinstance(other, float) else other(*at)
                score = step.apply(score, number)
            return score

        return AttentionOperands(
            query=queries if scaled_scores else lambda *i: times_scale(queries(*i)),
            key=lambda *i: transposed_keys(*i[:-2], i[-1], i[-2]),
            value=tensors.element(self.value, (*shape.batch, shape.keys, shape.width)),
            adjust=adjust,
        )


def distinct(sources: Iterable[Any]) -> list[Any]:
    """``sources`` in order, each once."""
    found: list[Any] = []
    for source in sources:
        if not any(source.same_as(other) for other in found):
            found.append(source)
    return found
