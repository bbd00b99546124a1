"""Our converters of ONNX Runtime's attention operators: products, a softmax, products.

Sources: ONNX Runtime's docs/ContribOperators.md. Heads are (batch, heads, length, size); what masks
adds ``mask_filter_value``, -10000 where it is not given, to the scores.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import array_of, constant, constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class FusedMatMul(Converter):
    """FusedMatMul: of matrices that may be transposed, times ``alpha``."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        if attr.get("transBatchA", 0) or attr.get("transBatchB", 0):
            raise ValueError("transposed batches (transBatchA, transBatchB) are not supported")
        operands = []
        for value, name in ((inputs[0], "transA"), (inputs[1], "transB")):
            rank = len(shape_of(value))
            if attr.get(name, 0) and rank > 1:
                order = [*range(rank - 2), rank - 1, rank - 2]
                array = array_of(value)
                value = (
                    constant(np.ascontiguousarray(array.transpose(order)))
                    if array is not None
                    else bb.emit(relax.op.permute_dims(value, order))
                )
            operands.append(value)
        product = relax.op.matmul(*operands)
        alpha = attr.get("alpha", 1.0)
        return product if alpha == 1 else _scaled(bb, bb.emit(product), alpha)


class Attention(Converter):
    """com.microsoft.Attention: the projection of one input to queries, keys and values, too."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, weight, bias, mask, past, added = (inputs[i] for i in range(6))
        if attr.get("do_rotary", 0) or attr.get("past_present_share_buffer", 0):
            raise ValueError("its rotary embedding and shared buffer are not supported")
        batch, length, _ = shape_of(data)
        columns = shape_of(weight)[-1]
        sizes = list(attr.get("qkv_hidden_sizes", [columns // 3] * 3))
        if sum(sizes) != columns or len(sizes) != 3:
            raise ValueError(f"its {columns} columns are not {sizes}")
        projected = bb.emit(relax.op.matmul(data, weight))
        if bias is not None:
            projected = bb.emit(relax.op.add(projected, bias))
        ends = np.cumsum(sizes)
        parts = [
            bb.emit(relax.op.strided_slice(projected, [2], [int(end) - size], [int(end)]))
            for end, size in zip(ends, sizes, strict=True)
        ]
        heads = attr["num_heads"]
        query, *states = (heads_of(bb, part, heads) for part in parts)
        if past is not None:
            before = [
                bb.emit(relax.op.squeeze(relax.op.strided_slice(past, [0], [i], [i + 1]), [0]))
                for i in range(2)
            ]
            states = _after(bb, before, states)
        keys = shape_of(states[0])[2]
        masks = _masks(bb, data, mask, (batch, length, keys), attr)
        result = _attend(bb, [query, *states], [added, *masks], attr)
        if attr["tvm_custom"]["num_outputs"] == 1:
            return result
        if sizes[1] != sizes[2]:
            raise ValueError("present keys and values of different sizes are not supported")
        both = [bb.emit(relax.op.expand_dims(state, 0)) for state in states]
        return relax.Tuple([bb.emit(result), bb.emit(relax.op.concat(both, axis=0))])


class MultiHeadAttention(Converter):
    """MultiHeadAttention of queries, keys and values that are projected already."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        query, key, value, bias, mask, added = (inputs[i] for i in range(6))
        past = [inputs[i] for i in (6, 7) if inputs[i] is not None]
        if inputs[8] is not None or inputs[9] is not None or len(past) == 1:
            raise ValueError("its past_sequence_length and cache_indirection are not supported")
        if attr["tvm_custom"]["num_outputs"] > 3:
            raise ValueError("its scores as a result are not supported")
        if key is None or value is None or len(shape_of(query)) != 3:
            raise ValueError("packed queries, keys and values are not supported")
        heads = attr["num_heads"]
        tensors = [query, key, value]
        if bias is not None:
            begin = 0
            for index, tensor in enumerate(tensors):
                size = shape_of(tensor)[-1] if len(shape_of(tensor)) == 3 else 0
                if not size:
                    raise ValueError("a bias goes with keys and values of 3 dimensions")
                part = bb.emit(relax.op.strided_slice(bias, [0], [begin], [begin + size]))
                tensors[index] = bb.emit(relax.op.add(tensor, part))
                begin += size
        split = [t if len(shape_of(t)) == 4 else heads_of(bb, t, heads) for t in tensors]
        if past:
            split = [split[0], *_after(bb, past, split[1:])]
        lengths = (shape_of(query)[0], shape_of(query)[1], shape_of(split[1])[2])
        masks = _masks(bb, query, mask, lengths, attr)
        result = _attend(bb, split, [added, *masks], attr)
        if attr["tvm_custom"]["num_outputs"] == 1:
            return result
        return relax.Tuple([bb.emit(result), *split[1:]])


class RotaryEmbedding(Converter):
    """com.microsoft.RotaryEmbedding: pairs of numbers turned by an angle of their position."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, positions, cosines, sines = (inputs[i] for i in range(4))
        shape = shape_of(data)
        if attr.get("is_packed_batching", 0) or len(shape) not in (3, 4):
            raise ValueError(f"packed batches, and data of shape {shape}, are not supported")
        half = shape_of(cosines)[-1]
        turned = attr.get("rotary_embedding_dim", 0) or 2 * half
        if len(shape) == 3:
            heads = attr.get("num_heads", 0) or shape[2] // (2 * half)
            split = heads_of(bb, data, heads)
        else:
            split = data
        batch, heads, length, size = shape_of(split)
        if turned > size or turned != 2 * half:
            raise ValueError(f"it turns {turned} of {size} numbers by {half} angles")
        at = _positions(bb, positions, batch, length)
        last = shape_of(cosines)[0] - 1
        at = bb.emit(
            relax.op.clip(at, tvm.tirx.const(0, dtype_of(at)), tvm.tirx.const(last, dtype_of(at)))
        )
        cosine, sine = (
            bb.emit(relax.op.expand_dims(bb.emit(relax.op.take(t, at, 0, mode="clip")), 1))
            for t in (cosines, sines)
        )
        interleaved = bool(attr.get("interleaved", 0))
        first, second = (
            bb.emit(relax.op.strided_slice(split, [3], [begin], [end], [2 if interleaved else 1]))
            for begin, end in (
                ((0, turned), (1, turned)) if interleaved else ((0, half), (half, turned))
            )
        )
        real = relax.op.subtract(relax.op.multiply(first, cosine), relax.op.multiply(second, sine))
        imaginary = relax.op.add(relax.op.multiply(first, sine), relax.op.multiply(second, cosine))
        parts = [bb.emit(real), bb.emit(imaginary)]
        if interleaved:
            spread = [bb.emit(relax.op.expand_dims(part, 4)) for part in parts]
            pairs = bb.emit(relax.op.concat(spread, axis=4))
            parts = [bb.emit(relax.op.reshape(pairs, (batch, heads, length, turned)))]
        if turned < size:
            parts.append(bb.emit(relax.op.strided_slice(split, [3], [turned], [size])))
        result = parts[0] if len(parts) == 1 else bb.emit(relax.op.concat(parts, axis=3))
        return joined(bb, result) if len(shape) == 3 else result


def _positions(bb: Builder, positions: Expr, batch: int, length: int) -> Expr:
    """The place of each element: given, or counted from an offset."""
    if shape_of(positions) == [batch, length]:
        return positions
    if math.prod(shape_of(positions)) != 1:
        raise ValueError(f"its positions have the shape {shape_of(positions)}")
    counted = constant(np.tile(np.arange(length), (batch, 1)).astype(dtype_of(positions)))
    offset = bb.emit(relax.op.reshape(positions, (1, 1)))
    return bb.emit(relax.op.add(counted, offset))


def heads_of(bb: Builder, data: Expr, heads: int) -> Expr:
    """(batch, length, heads * size) as (batch, heads, length, size)."""
    batch, length, width = shape_of(data)
    if heads < 1 or width % heads:
        raise ValueError(f"{width} numbers do not make {heads} heads")
    split = bb.emit(relax.op.reshape(data, (batch, length, heads, width // heads)))
    return bb.emit(relax.op.permute_dims(split, [0, 2, 1, 3]))


def joined(bb: Builder, data: Expr) -> Expr:
    """(batch, heads, length, size) as (batch, length, heads * size), not emitted yet."""
    batch, heads, length, size = shape_of(data)
    moved = bb.emit(relax.op.permute_dims(data, [0, 2, 1, 3]))
    return relax.op.reshape(moved, (batch, length, heads * size))


def _after(bb: Builder, past: list[Any], new: list[Any]) -> list[Any]:
    """Keys and values of before, and the new ones."""
    pairs = zip(past, new, strict=True)
    return [bb.emit(relax.op.concat(list(pair), axis=2)) for pair in pairs]


def _attend(bb: Builder, heads: list[Any], added: list[Any], attr: dict[str, Any]) -> Expr:
    """softmax(query key' * scale + added) value, its heads joined."""
    query, key, value = heads
    scale = attr.get("scale", 0.0) or 1 / math.sqrt(shape_of(query)[-1])
    transposed = bb.emit(relax.op.permute_dims(key, [0, 1, 3, 2]))
    scores = _scaled(bb, bb.emit(relax.op.matmul(query, transposed)), scale)
    for bias in added:
        if bias is not None:
            scores = bb.emit(relax.op.add(bb.emit(scores), bias))
    weights = bb.emit(relax.op.nn.softmax(bb.emit(scores), -1))
    return joined(bb, bb.emit(relax.op.matmul(weights, value)))


def _masks(
    bb: Builder, data: Expr, mask: Any, lengths: tuple[int, int, int], attr: dict[str, Any]
) -> list[Expr]:
    """What the masks add to scores of (batch, heads, queries, keys)."""
    batch, queries, keys = lengths
    filler = attr.get("mask_filter_value", -10000.0)
    found = []
    if mask is not None:
        shape = shape_of(mask)
        if shape == [batch, keys] or len(shape) == 3:
            rows = [batch, 1, 1, keys] if len(shape) == 2 else [shape[0], 1, *shape[1:]]
            spread = bb.emit(relax.op.reshape(mask, rows))
            kept = relax.op.greater(spread, constant_like(mask, 0))
        elif shape == [batch]:  # how many keys each has, from the first on
            limits = bb.emit(relax.op.reshape(mask, (batch, 1, 1, 1)))
            places = constant(np.arange(keys).astype(dtype_of(mask)).reshape(1, 1, 1, keys))
            kept = relax.op.less(places, limits)
        else:
            raise ValueError(f"a mask of shape {shape} is not supported")
        zero, low = constant_like(data, 0.0), constant_like(data, filler)
        found.append(bb.emit(relax.op.where(bb.emit(kept), zero, low)))
    if attr.get("unidirectional", 0):
        later = np.triu(np.full((queries, keys), filler), 1 + keys - queries)
        found.append(constant_like(data, later.reshape(1, 1, queries, keys)))
    return found


def _scaled(bb: Builder, data: Expr, factor: float) -> Any:
    return relax.op.multiply(data, constant_like(data, factor))


#: Operator of the com.microsoft domain -> converter.
FUSED_ATTENTION = {
    "Attention": Attention,
    "FusedMatMul": FusedMatMul,
    "MultiHeadAttention": MultiHeadAttention,
    "RotaryEmbedding": RotaryEmbedding,
}
