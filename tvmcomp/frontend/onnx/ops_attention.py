"""Our converter of the standard's Attention (operator sets 23 to 25).

    softmax(softcap(Q K' * scale) + bias) V

Heads are (batch, heads, length, size). A query whose keys are all masked gives zeros. Several heads
of queries that share one of keys are rows of one product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.ops_fused_attention import heads_of, joined
from tvmcomp.frontend.onnx.values import constant, constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class Attention(Converter):
    """Attention, with past keys and values, grouped heads, windows and lengths of the cache."""

    @classmethod
    def _impl_v23(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        query, key, value, mask, past_key, past_value, lengths = (inputs[i] for i in range(7))
        flat = len(shape_of(query)) == 3
        if flat:
            query = heads_of(bb, query, attr["q_num_heads"])
            key, value = (heads_of(bb, each, attr["kv_num_heads"]) for each in (key, value))
        before = 0
        if past_key is not None and past_value is not None:
            before = shape_of(past_key)[2]
            key = bb.emit(relax.op.concat([past_key, key], axis=2))
            value = bb.emit(relax.op.concat([past_value, value], axis=2))
        bias = _Bias.of(bb, query, key, mask, lengths, before, attr)
        scale = attr.get("scale") or 1 / math.sqrt(shape_of(query)[-1])
        raw = grouped(bb, query, bb.emit(relax.op.permute_dims(key, [0, 1, 3, 2])))
        raw = bb.emit(relax.op.multiply(raw, constant_like(raw, scale)))
        capped, cap = raw, attr.get("softcap", 0.0)
        if cap:
            small = bb.emit(relax.op.divide(raw, constant_like(raw, cap)))
            capped = bb.emit(relax.op.multiply(relax.op.tanh(small), constant_like(raw, cap)))
        biased = capped if bias.added is None else bb.emit(relax.op.add(capped, bias.added))
        weights = bb.emit(relax.op.nn.softmax(biased, -1))
        if bias.may_mask_all and bias.added is not None:
            highest = bb.emit(relax.op.max(bias.added, [-1], True))
            nothing = bb.emit(relax.op.equal(highest, constant_like(highest, -np.inf)))
            weights = bb.emit(relax.op.where(nothing, constant_like(weights, 0), weights))
        result = grouped(bb, weights, value)
        result = bb.emit(joined(bb, result)) if flat else result
        shown = (raw, capped, biased, weights)[attr.get("qk_matmul_output_mode", 0)]
        return relax.Tuple([result, key, value, shown])


@dataclass(frozen=True)
class _Bias:
    """What is added to the scores; ``may_mask_all`` where a query may have no key left."""

    added: Any = None
    may_mask_all: bool = False

    @classmethod
    def of(
        cls,
        bb: Builder,
        query: Expr,
        key: Expr,
        mask: Any,
        lengths: Any,
        before: int,
        attr: dict[str, Any],
    ) -> _Bias:
        queries, keys = shape_of(query)[2], shape_of(key)[2]
        dtype = dtype_of(query)
        causal = bool(attr.get("is_causal", 0))
        windows = attr.get("left_window_size", -1), attr.get("right_window_size", -1)
        parts: list[Any] = []
        if mask is not None:
            parts.append(_mask_bias(bb, mask, keys, dtype))
        if lengths is None:
            allowed = _allowed(np.arange(queries)[:, None] + before, keys, causal, windows)
            if not allowed.all():
                parts.append(constant(np.where(allowed, 0.0, -np.inf).astype(dtype)))
            sure = mask is None and bool(allowed.any(axis=-1).all())
        else:
            parts.append(_length_bias(bb, lengths, queries, keys, causal, windows, dtype))
            sure = False
        if not parts:
            return cls()
        total = parts[0]
        for part in parts[1:]:
            total = bb.emit(relax.op.add(total, part))
        return cls(total, not sure)


def _allowed(places: np.ndarray, keys: int, causal: bool, windows: tuple[int, int]) -> np.ndarray:
    """Which keys a query sees, for the places of the queries: (queries, keys)."""
    distance = places - np.arange(keys)
    allowed = np.ones(distance.shape, bool)
    if causal:
        allowed &= distance >= 0
    if windows[0] >= 0:
        allowed &= distance <= windows[0]
    if windows[1] >= 0:
        allowed &= -distance <= windows[1]
    return allowed


def _mask_bias(bb: Builder, mask: Expr, keys: int, dtype: str) -> Expr:
    """A mask, of booleans or of what is added, for all ``keys``; what it lacks is masked."""
    if dtype_of(mask) == "bool":
        zero, low = (relax.const(number, dtype) for number in (0.0, -np.inf))
        mask = bb.emit(relax.op.where(mask, zero, low))
    elif dtype_of(mask) != dtype:
        mask = bb.emit(relax.op.astype(mask, dtype))
    shape = shape_of(mask)
    missing = keys - shape[-1]
    if missing < 0:
        raise ValueError(f"its mask of shape {shape} has more keys than the {keys} there are")
    if not missing:
        return mask
    rest = constant(np.full([*shape[:-1], missing], -np.inf, dtype))
    return bb.emit(relax.op.concat([mask, rest], axis=-1))


def _length_bias(
    bb: Builder,
    lengths: Expr,
    queries: int,
    keys: int,
    causal: bool,
    windows: tuple[int, int],
    dtype: str,
) -> Expr:
    """Each batch has a number of keys of its own, the last of which are the queries'."""
    spread = bb.emit(relax.op.reshape(lengths, (-1, 1, 1, 1)))
    wide = bb.emit(relax.op.astype(spread, "int64"))
    columns = np.arange(keys).reshape(1, 1, 1, keys)
    conditions = [relax.op.less(constant(columns), wide)]
    if causal or max(windows) >= 0:
        rows = np.arange(queries).reshape(1, 1, queries, 1) - queries
        distance = bb.emit(relax.op.add(wide, constant(rows - columns)))
        if causal:
            conditions.append(relax.op.greater_equal(distance, relax.const(0, "int64")))
        if windows[0] >= 0:
            conditions.append(relax.op.less_equal(distance, relax.const(windows[0], "int64")))
        if windows[1] >= 0:
            conditions.append(relax.op.greater_equal(distance, relax.const(-windows[1], "int64")))
    allowed = bb.emit(conditions[0])
    for condition in conditions[1:]:
        allowed = bb.emit(relax.op.logical_and(allowed, condition))
    zero, low = (relax.const(number, dtype) for number in (0.0, -np.inf))
    return bb.emit(relax.op.where(allowed, zero, low))


def grouped(bb: Builder, left: Expr, right: Expr) -> Expr:
    """``left @ right`` where several heads of ``left`` share one of ``right``."""
    batch, heads, rows, depth = shape_of(left)
    shared, columns = shape_of(right)[1], shape_of(right)[3]
    if heads == shared:
        return bb.emit(relax.op.matmul(left, right))
    if shared < 1 or heads % shared:
        raise ValueError(f"its {heads} heads of queries do not share {shared} of keys")
    stacked = bb.emit(relax.op.reshape(left, (batch, shared, heads // shared * rows, depth)))
    product = bb.emit(relax.op.matmul(stacked, right))
    return bb.emit(relax.op.reshape(product, (batch, heads, rows, columns)))


#: ONNX operator -> converter.
ATTENTION = {"Attention": Attention}
