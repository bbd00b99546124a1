"""Our converter of ONNX Runtime's GroupQueryAttention, as exporters of language models write it.

    keys = past keys, then the new ones           values likewise, heads shared by several queries
    softmax(softcap(Q K' * scale) + bias) V       of the keys up to a query's own place

A batch's new keys begin where its past ends: at ``seqlens_k + 1 - new``, or at 0 in a prompt, whose
total length is that of its queries. Sizes are fixed: the present keys are as many as the past's
buffer has, or as the total length where that is more; what is not used of them is 0.

Source: ONNX Runtime's ``contrib_ops/cpu/bert/gqa_attention_base.h``.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.ops_attention import grouped
from tvmcomp.frontend.onnx.ops_fused_attention import RotaryEmbedding, heads_of, joined
from tvmcomp.frontend.onnx.values import constant, constant_like, dtype_of, ints_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class GroupQueryAttention(Converter):
    """GroupQueryAttention; gives the result, the present keys and the present values."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        past_key, past_value, lengths, total = (inputs[i] for i in range(3, 7))
        bias, sink = inputs[10], inputs[11]
        if attr["tvm_custom"]["num_outputs"] > 3:
            raise ValueError("its scores as a result are not supported")
        if any(inputs[i] is not None for i in range(12, 16)) or attr.get("kv_cache_bit_width", 0):
            raise ValueError("quantized keys and values are not supported")
        query, key, value = _heads(bb, inputs, attr)
        new = shape_of(query)[2]
        (length,) = ints_of(total, "total_sequence_length")
        before = 0 if past_key is None else shape_of(past_key)[2]
        size = max(length, before)
        # Where the new keys of each batch begin: (batch, 1).
        begin: Any = constant(np.zeros((shape_of(query)[0], 1), "int64"))
        if length != new:
            last = bb.emit(relax.op.reshape(lengths, (-1, 1)))
            wide = bb.emit(relax.op.astype(last, "int64"))
            begin = bb.emit(relax.op.add(wide, relax.const(1 - new, "int64")))
        if attr.get("do_rotary", 0):
            query, key = _turned(bb, (query, key), begin, inputs, attr)
        key, value = (
            _present(bb, past, each, begin, size)
            for past, each in ((past_key, key), (past_value, value))
        )
        scores = grouped(bb, query, bb.emit(relax.op.permute_dims(key, [0, 1, 3, 2])))
        scale = attr.get("scale", 0.0) or 1 / math.sqrt(shape_of(query)[-1])
        scores = bb.emit(relax.op.multiply(scores, constant_like(scores, scale)))
        if cap := attr.get("softcap", 0.0):
            small = bb.emit(relax.op.divide(scores, constant_like(scores, cap)))
            scores = bb.emit(relax.op.multiply(relax.op.tanh(small), constant_like(scores, cap)))
        if bias is not None:
            missing = size - shape_of(bias)[-1]
            if missing > 0:
                bias = bb.emit(relax.op.nn.pad(bias, [0, 0, 0, 0, 0, 0, 0, missing]))
            scores = bb.emit(relax.op.add(scores, bias))
        seen = _seen(bb, begin, new, size, attr.get("local_window_size", -1))
        scores = bb.emit(relax.op.where(seen, scores, constant_like(scores, -np.inf)))
        weights = _weights(bb, scores, sink, attr)
        result = bb.emit(joined(bb, grouped(bb, weights, value)))
        return relax.Tuple([result, key, value])


def _heads(bb: Builder, inputs: Inputs, attr: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Queries, keys and values as heads, also where one tensor holds them all."""
    heads, shared = attr["num_heads"], attr["kv_num_heads"]
    if inputs[1] is not None:
        return (
            heads_of(bb, inputs[0], heads),
            heads_of(bb, inputs[1], shared),
            heads_of(bb, inputs[2], shared),
        )
    every = heads_of(bb, inputs[0], heads + 2 * shared)
    ends = np.cumsum([0, heads, shared, shared])
    query, key, value = (
        bb.emit(relax.op.strided_slice(every, [1], [int(first)], [int(last)]))
        for first, last in pairwise(ends)
    )
    return query, key, value


def _turned(
    bb: Builder, heads: tuple[Any, Any], begin: Any, inputs: Inputs, attr: dict[str, Any]
) -> list[Any]:
    """Queries and keys turned by the angles of their places."""
    places = inputs[9]
    if places is None:
        counted = np.arange(shape_of(heads[0])[2]).reshape(1, -1)
        places = bb.emit(relax.op.add(begin, constant(counted)))
    settings = {"interleaved": attr.get("rotary_interleaved", 0)}
    return [
        bb.emit(RotaryEmbedding._impl_v1(bb, [each, places, inputs[7], inputs[8]], settings, {}))
        for each in heads
    ]


def _present(bb: Builder, past: Any, new: Any, begin: Any, size: int) -> Any:
    """The past up to ``begin``, then ``new``, then zeros: (batch, heads, size, width)."""
    batch, _, count, _ = shape_of(new)
    if past is None:
        rest = [0, 0, 0, 0, 0, size - count, 0, 0]
        return new if size == count else bb.emit(relax.op.nn.pad(new, rest))
    before = shape_of(past)[2]
    if before < size:
        past = bb.emit(relax.op.nn.pad(past, [0, 0, 0, 0, 0, size - before, 0, 0]))
    # How far each place is behind the beginning: (batch, 1, size, 1).
    places = constant(np.arange(size).reshape(1, 1, size, 1))
    behind = bb.emit(relax.op.subtract(places, bb.emit(relax.op.reshape(begin, (batch, 1, 1, 1)))))
    moved = []
    for row in range(batch):
        own = bb.emit(relax.op.strided_slice(new, [0], [row], [row + 1]))
        at = bb.emit(relax.op.strided_slice(behind, [0], [row], [row + 1]))
        at = bb.emit(relax.op.reshape(at, (size,)))
        moved.append(bb.emit(relax.op.take(own, at, 2, mode="clip")))
    spread = moved[0] if batch == 1 else bb.emit(relax.op.concat(moved, axis=0))
    is_past = bb.emit(relax.op.less(behind, relax.const(0, "int64")))
    is_new = bb.emit(relax.op.less(behind, relax.const(count, "int64")))
    tail = bb.emit(relax.op.where(is_new, spread, constant_like(spread, 0.0)))
    return bb.emit(relax.op.where(is_past, past, tail))


def _seen(bb: Builder, begin: Any, new: int, size: int, window: int) -> Any:
    """Which keys a query sees: (batch, 1, new, size)."""
    ahead = np.arange(new).reshape(1, 1, new, 1) - np.arange(size).reshape(1, 1, 1, size)
    first = bb.emit(relax.op.reshape(begin, (-1, 1, 1, 1)))
    distance = bb.emit(relax.op.add(first, constant(ahead)))
    seen = bb.emit(relax.op.greater_equal(distance, relax.const(0, "int64")))
    if window <= 0:
        return seen
    near = bb.emit(relax.op.less(distance, relax.const(window, "int64")))
    return bb.emit(relax.op.logical_and(seen, near))


def _weights(bb: Builder, scores: Any, sink: Any, attr: dict[str, Any]) -> Any:
    """The softmax; a sink, or with ``smooth_softmax`` a 0, takes a share of it."""
    if sink is None and not attr.get("smooth_softmax", 0):
        return bb.emit(relax.op.nn.softmax(scores, -1))
    *outer, size = shape_of(scores)
    if sink is None:
        sink = constant(np.zeros(outer[1], dtype_of(scores)))
    column = bb.emit(relax.op.reshape(sink, (1, outer[1], 1, 1)))
    column = bb.emit(relax.op.broadcast_to(column, (*outer, 1)))
    every = bb.emit(relax.op.nn.softmax(bb.emit(relax.op.concat([scores, column], axis=-1)), -1))
    return bb.emit(relax.op.strided_slice(every, [3], [0], [size]))


#: Operator of the com.microsoft domain -> converter.
GROUP_QUERY_ATTENTION = {"GroupQueryAttention": GroupQueryAttention}
