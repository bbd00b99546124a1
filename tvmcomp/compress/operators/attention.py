"""Attention: the standard's, and what ONNX Runtime's optimizer writes.

Heads are (batch, heads, length, size). A query whose keys are all masked gives zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tvmcomp.compress.operators.table import Node, Tensor, operator


@operator("Attention")
def _attention(
    node: Node,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, ...]:
    flat = query.ndim == 3
    if flat:
        query = _heads(query, node["q_num_heads"])
        key, value = (_heads(each, node["kv_num_heads"]) for each in (key, value))
    before = 0
    if past_key is not None and past_value is not None:
        before = past_key.shape[2]
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
    scale = node.get("scale") or 1 / math.sqrt(query.shape[-1])
    raw = _grouped(query, key.transpose(2, 3)) * scale
    cap = node.get("softcap", 0.0)
    capped = torch.tanh(raw / cap) * cap if cap else raw
    biased = capped
    if mask is not None:
        missing = key.shape[2] - mask.shape[-1]
        if mask.dtype == torch.bool:
            mask = torch.where(mask, 0.0, -math.inf).to(query.dtype)
        wide = torch.nn.functional.pad(mask, [0, missing], value=-math.inf)
        biased = biased + wide.to(query.dtype)
    seen = _seen(node, query.shape[2], key.shape[2], before, lengths)
    if seen is not None:
        biased = torch.where(seen, biased, -math.inf)
    # A softmax of -inf alone would have no gradient but NaN.
    nothing = biased.amax(-1, keepdim=True) == -math.inf
    weights = torch.softmax(torch.where(nothing, 0, biased), -1)
    weights = torch.where(nothing, 0, weights)
    result = _grouped(weights, value)
    shown = (raw, capped, biased, weights)[node.get("qk_matmul_output_mode", 0)]
    return _joined(result) if flat else result, key, value, shown


def _seen(
    node: Node, queries: int, keys: int, before: int, lengths: Tensor | None
) -> Tensor | None:
    """Which keys a query sees; None where it sees all."""
    left, right = node.get("left_window_size", -1), node.get("right_window_size", -1)
    columns, rows = torch.arange(keys), torch.arange(queries).reshape(-1, 1)
    if lengths is None:
        distance, seen = rows + before - columns, torch.ones(queries, keys, dtype=torch.bool)
    else:
        ends = lengths.long().reshape(-1, 1, 1, 1)
        distance, seen = ends - queries + rows - columns, columns < ends
    if node.get("is_causal", 0):
        seen = seen & (distance >= 0)
    if left >= 0:
        seen = seen & (distance <= left)
    if right >= 0:
        seen = seen & (-distance <= right)
    return None if seen.numel() and bool(seen.all()) else seen


@operator("com.microsoft.Attention")
def _packed_attention(
    node: Node,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    past: Tensor | None = None,
    added: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    projected = x @ weight if bias is None else x @ weight + bias
    sizes = node.get("qkv_hidden_sizes") or [projected.shape[-1] // 3] * 3
    query, *states = (_heads(part, node["num_heads"]) for part in projected.split(list(sizes), -1))
    if past is not None:
        states = [torch.cat(pair, 2) for pair in zip(past, states, strict=True)]
    present = torch.stack(states) if len(node.outputs) > 1 else query
    return _attend(node, [query, *states], mask, added), present


@operator("com.microsoft.MultiHeadAttention")
def _multi_head_attention(
    node: Node,
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    added: Tensor | None = None,
    *past: Tensor | None,
) -> tuple[Tensor, ...]:
    if key is None or value is None or any(each is not None for each in past[2:]):
        raise NotImplementedError("packed queries, keys and values, and caches")
    parts = [query, key, value]
    if bias is not None:
        biases = bias.split([part.shape[-1] for part in parts])
        parts = [part + own for part, own in zip(parts, biases, strict=True)]
    query, *states = (p if p.ndim == 4 else _heads(p, node["num_heads"]) for p in parts)
    if past and past[0] is not None and past[1] is not None:
        before = (past[0], past[1])
        states = [torch.cat(pair, 2) for pair in zip(before, states, strict=True)]
    return _attend(node, [query, *states], mask, added), *states


@operator("com.microsoft.RotaryEmbedding")
def _rotary(node: Node, x: Tensor, positions: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    flat, half = x.ndim == 3, cosines.shape[-1]
    if flat:
        x = _heads(x, node.get("num_heads", 0) or x.shape[-1] // (2 * half))
    places = positions.long()
    if places.ndim == 1:
        places = places + torch.arange(x.shape[2])
    places = places.clamp(0, cosines.shape[0] - 1)
    cosine, sine = (table[places].reshape(-1, 1, x.shape[2], half) for table in (cosines, sines))
    turned, rest = x[..., : 2 * half], x[..., 2 * half :]
    interleaved = bool(node.get("interleaved", 0))
    if interleaved:
        first, second = turned[..., ::2], turned[..., 1::2]
    else:
        first, second = turned.chunk(2, -1)
    parts = [first * cosine - second * sine, first * sine + second * cosine]
    turned = torch.stack(parts, -1).flatten(-2) if interleaved else torch.cat(parts, -1)
    result = torch.cat([turned, rest], -1)
    return _joined(result) if flat else result


def _attend(
    node: Node, heads: Sequence[Tensor], mask: Tensor | None, added: Tensor | None
) -> Tensor:
    query, key, value = heads
    scores = query @ key.transpose(2, 3) * (node.get("scale", 0.0) or query.shape[-1] ** -0.5)
    filler = node.get("mask_filter_value", -10000.0)
    queries, keys = scores.shape[-2:]
    if added is not None:
        scores = scores + added
    if mask is not None:
        if mask.ndim == 1:  # how many keys each has, from the first on
            kept = torch.arange(keys) < mask.reshape(-1, 1, 1, 1)
        else:
            kept = mask[:, None, None] > 0 if mask.ndim == 2 else mask[:, None] > 0
        scores = scores + torch.where(kept, 0.0, filler)
    if node.get("unidirectional", 0):
        scores = scores + torch.full((queries, keys), filler).triu(1 + keys - queries)
    return _joined(torch.softmax(scores, -1) @ value)


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def _grouped(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` where several heads of ``left`` share one of ``right``."""
    batch, heads, rows, depth = left.shape
    shared = right.shape[1]
    product = left.reshape(batch, shared, heads // shared * rows, depth) @ right
    return product.reshape(batch, heads, rows, right.shape[-1])
