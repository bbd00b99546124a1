"""Our converters of the com.microsoft domain, where TVM's want what is optional."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import constant, constant_like, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class SkipLayerNormalization(Converter):
    """SkipLayerNormalization: of a sum, which is its fourth output."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        total = relax.op.add(inputs[0], inputs[1])
        if inputs[4] is not None:
            total = relax.op.add(bb.emit(total), inputs[4])
        total = bb.emit(total)
        normal = _layer_norm(total, inputs[2], inputs[3], attr)
        if attr["tvm_custom"]["num_outputs"] == 1:
            return normal
        mean = relax.op.mean(total, [-1], keepdims=True)
        epsilon = constant_like(total, attr.get("epsilon", 1e-12))
        variance = relax.op.variance(total, [-1], keepdims=True)
        return relax.Tuple([normal, mean, relax.op.rsqrt(relax.op.add(variance, epsilon)), total])


class SkipSimplifiedLayerNormalization(Converter):
    """SkipSimplifiedLayerNormalization: by the root of the mean square, of a sum, its fourth
    output."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        total = bb.emit(relax.op.add(inputs[0], inputs[1]))
        if inputs[3] is not None:
            total = bb.emit(relax.op.add(total, inputs[3]))
        square = relax.op.mean(relax.op.multiply(total, total), [-1], keepdims=True)
        epsilon = constant_like(total, attr.get("epsilon", 1e-12))
        root = bb.emit(relax.op.rsqrt(relax.op.add(square, epsilon)))
        normal = relax.op.multiply(relax.op.multiply(total, root), inputs[2])
        if attr["tvm_custom"]["num_outputs"] == 1:
            return normal
        none = constant_like(total, np.zeros(shape_of(root)))
        return relax.Tuple([bb.emit(normal), none, root, total])


class SimplifiedLayerNormalization(Converter):
    """SimplifiedLayerNormalization: by the root of the mean square of the axes from ``axis`` on."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, rank = inputs[0], len(shape_of(inputs[0]))
        axes = list(range(attr.get("axis", -1) % rank, rank))
        square = relax.op.mean(relax.op.multiply(data, data), axes, keepdims=True)
        epsilon = constant_like(data, attr.get("epsilon", 1e-5))
        root = bb.emit(relax.op.rsqrt(relax.op.add(square, epsilon)))
        normal = relax.op.multiply(relax.op.multiply(data, root), inputs[1])
        if attr["tvm_custom"]["num_outputs"] == 1:
            return normal
        return relax.Tuple([bb.emit(normal), root])


class EmbedLayerNormalization(Converter):
    """EmbedLayerNormalization: of the sum of two or three embeddings."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        ids, segments, words, positions, segment_table = (inputs[i] for i in range(5))
        batch, length = shape_of(ids)
        places = inputs[8]
        if places is None:
            places = constant(np.tile(np.arange(length), (batch, 1)))
        total = bb.emit(relax.op.add(_rows(words, ids), _rows(positions, places)))
        if segments is not None:
            total = bb.emit(relax.op.add(total, _rows(segment_table, segments)))
        normal = _layer_norm(total, inputs[5], inputs[6], attr)
        # How many words a sentence has.
        if inputs[7] is None:
            return relax.Tuple([normal, constant(np.zeros(batch, "int32"))])
        return relax.Tuple([normal, relax.op.sum(inputs[7], 1)])


def _rows(table: Any, ids: Any) -> Any:
    return relax.op.take(table, ids, 0, mode="clip")


def _layer_norm(data: Expr, scale: Expr, bias: Expr, attr: dict[str, Any]) -> Any:
    bias = constant_like(scale, np.zeros(shape_of(scale))) if bias is None else bias
    return relax.op.nn.layer_norm(data, scale, bias, [-1], attr.get("epsilon", 1e-12))


#: Operator of the com.microsoft domain -> converter.
MICROSOFT = {
    "EmbedLayerNormalization": EmbedLayerNormalization,
    "SimplifiedLayerNormalization": SimplifiedLayerNormalization,
    "SkipLayerNormalization": SkipLayerNormalization,
    "SkipSimplifiedLayerNormalization": SkipSimplifiedLayerNormalization,
}
