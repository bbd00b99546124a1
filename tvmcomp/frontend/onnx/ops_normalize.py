"""Our converters of normalizations: what is along some axes gets mean 0 and deviation 1.

Statistics are computed in single precision at least. TVM's ``nn.layer_norm`` takes float32 and
float16 and scales of the full shape; the rest is written out, and fusion makes one kernel of it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.powers import power_by
from tvmcomp.frontend.onnx.values import constant_like, dtype_of, shape_of
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


class InstanceNormalization(Converter):
    """InstanceNormalization, with scale and bias of shape (1, C, 1, …)."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        rank = len(shape_of(data))
        wide = _at_least_single(bb, data)
        axes = list(range(2, rank))
        normal = _centred_and_scaled(bb, wide, axes, attr.get("epsilon", 1e-5))
        normal = _cast(bb, normal, dtype_of(data))
        shape = (1, -1) + (1,) * (rank - 2)
        scaled = relax.op.multiply(normal, relax.op.reshape(inputs[1], shape))
        return relax.op.add(scaled, relax.op.reshape(inputs[2], shape))


class LayerNormalization(Converter):
    """LayerNormalization over the axes from ``axis`` to the last."""

    @classmethod
    def _impl_v17(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, scale, bias = inputs[0], inputs[1], inputs[2]
        shape = shape_of(data)
        axes = _axes_from(attr.get("axis", -1), len(shape))
        epsilon = attr.get("epsilon", 1e-5)
        if dtype_of(data) in ("float32", "float16"):
            normalized = cls._normalized(data, scale, bias, axes, epsilon)
        else:
            normal = _centred_and_scaled(bb, _at_least_single(bb, data), axes, epsilon)
            normalized = relax.op.multiply(_cast(bb, normal, dtype_of(data)), scale)
            normalized = normalized if bias is None else relax.op.add(normalized, bias)
        if attr["tvm_custom"]["num_outputs"] == 1:
            return normalized
        deviation = relax.op.add(
            relax.op.variance(data, axes, keepdims=True), constant_like(data, epsilon)
        )
        mean = relax.op.mean(data, axes, keepdims=True)
        return relax.Tuple([normalized, mean, relax.op.rsqrt(deviation)])

    @staticmethod
    def _normalized(data: Expr, scale: Expr, bias: Expr, axes: list[int], epsilon: float) -> Any:
        shape, first = shape_of(data), axes[0]
        if shape_of(scale) == shape[first:] and (bias is None or shape_of(bias) == shape[first:]):
            bias = constant_like(data, np.zeros(shape[first:])) if bias is None else bias
            return relax.op.nn.layer_norm(data, scale, bias, axes, epsilon)
        # Scale and bias that broadcast: relax.nn.layer_norm wants them of the full shape.
        ones, zeros = np.ones(shape[first:]), np.zeros(shape[first:])
        normal = relax.op.nn.layer_norm(
            data, constant_like(data, ones), constant_like(data, zeros), axes, epsilon
        )
        scaled = relax.op.multiply(normal, scale)
        return scaled if bias is None else relax.op.add(scaled, bias)


class RMSNormalization(Converter):
    """RMSNormalization over the axes from ``axis`` to the last."""

    @classmethod
    def _impl_v23(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, scale = inputs[0], inputs[1]
        shape, dtype = shape_of(data), dtype_of(data)
        axes = _axes_from(attr.get("axis", -1), len(shape))
        wide = _at_least_single(bb, data)
        mean = relax.op.mean(relax.op.multiply(wide, wide), axes, keepdims=True)
        epsilon = constant_like(wide, attr.get("epsilon", 1e-5))
        normal = relax.op.multiply(wide, relax.op.rsqrt(relax.op.add(mean, epsilon)))
        factor = bb.emit(normal) if dtype == dtype_of(wide) else _cast(bb, normal, dtype_of(scale))
        result = bb.emit(relax.op.multiply(factor, scale))
        return result if dtype_of(result) == dtype else relax.op.astype(result, dtype)


class GroupNormalization(Converter):
    """GroupNormalization; scale and bias are one a group before operator set 21, then a channel."""

    @classmethod
    def _impl_v18(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, groups = inputs[0], attr["num_groups"]
        shape = shape_of(data)
        if groups < 1 or shape[1] % groups:
            raise ValueError(f"its {shape[1]} channels can't be put into {groups} groups")
        grouped = [shape[0], groups, shape[1] // groups, *shape[2:]]
        wide = _at_least_single(bb, bb.emit(relax.op.reshape(data, grouped)))
        axes = list(range(2, len(grouped)))
        normal = _centred_and_scaled(bb, wide, axes, attr.get("epsilon", 1e-5))
        normal = _cast(bb, normal, dtype_of(data))
        per_group = shape_of(inputs[1]) == [groups] and shape[1] != groups
        if not per_group:
            normal = bb.emit(relax.op.reshape(normal, shape))
        along = [1, -1] + [1] * (len(shape_of(normal)) - 2)
        for operator, values in ((relax.op.multiply, inputs[1]), (relax.op.add, inputs[2])):
            normal = bb.emit(operator(normal, relax.op.reshape(values, along)))
        return relax.op.reshape(normal, shape) if per_group else normal


class MeanVarianceNormalization(Converter):
    """MeanVarianceNormalization, over batch and image unless axes are named."""

    @classmethod
    def _impl_v9(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        rank = len(shape_of(data))
        axes = sorted({axis % rank for axis in attr.get("axes", (0, 2, 3))})
        # The epsilon of the function's body in the standard, added to the deviation.
        mean = relax.op.mean(data, axes, keepdims=True)
        centred = bb.emit(relax.op.subtract(data, mean))
        variance = relax.op.mean(relax.op.multiply(centred, centred), axes, keepdims=True)
        deviation = relax.op.add(relax.op.sqrt(variance), constant_like(data, 1e-9))
        return relax.op.divide(centred, deviation)


class LRN(Converter):
    """LRN: divided by a power of the squares of the channels around."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, size = inputs[0], attr["size"]
        n, channels, *image = shape_of(data)
        wide = _at_least_single(bb, data)
        squares = bb.emit(relax.op.multiply(wide, wide))
        before, after = (size - 1) // 2, math.ceil((size - 1) / 2)
        flat = bb.emit(relax.op.reshape(squares, (n, channels, math.prod(image))))
        padded = bb.emit(relax.op.nn.pad(flat, [0, 0, before, after, 0, 0]))
        total = None
        for shift in range(size):
            part = bb.emit(relax.op.strided_slice(padded, [1], [shift], [shift + channels]))
            total = part if total is None else bb.emit(relax.op.add(total, part))
        around = bb.emit(relax.op.reshape(total, shape_of(data)))
        factor = constant_like(wide, attr.get("alpha", 1e-4) / size)
        scaled = relax.op.multiply(around, factor)
        base = bb.emit(relax.op.add(scaled, constant_like(wide, attr.get("bias", 1.0))))
        beta = attr.get("beta", 0.75)
        power = power_by(bb, base, beta, floating=True)
        if power is None:
            power = relax.op.power(base, constant_like(wide, beta))
        result = bb.emit(relax.op.divide(wide, power))
        return _cast(bb, result, dtype_of(data))


def _axes_from(axis: int, rank: int) -> list[int]:
    """The axes from ``axis`` to the last."""
    if not -rank <= axis < rank:
        raise ValueError(f"its axis {axis} is not among the {rank} of its data")
    return list(range(axis % rank, rank))


def _at_least_single(bb: Builder, data: Expr) -> Expr:
    """``data`` in float32, or in float64 where it is."""
    return data if dtype_of(data) == "float64" else _cast(bb, data, "float32")


def _cast(bb: Builder, expr: Expr, dtype: str) -> Expr:
    expr = bb.normalize(expr)
    return expr if dtype_of(expr) == dtype else bb.emit(relax.op.astype(expr, dtype))


def _centred_and_scaled(bb: Builder, data: Expr, axes: list[int], epsilon: float) -> Expr:
    """``data`` with mean 0 and deviation 1 along ``axes``."""
    mean = relax.op.mean(data, axes, keepdims=True)
    centred = bb.emit(relax.op.subtract(data, mean))
    variance = relax.op.mean(relax.op.multiply(centred, centred), axes, keepdims=True)
    root = relax.op.rsqrt(relax.op.add(variance, constant_like(data, epsilon)))
    return bb.emit(relax.op.multiply(centred, root))


class LpNormalization(Converter):
    """LpNormalization by the sum of the magnitudes or the root of the sum of the squares along an
    axis; zeros stay zeros."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, axis, p = inputs[0], attr.get("axis", -1), attr.get("p", 2)
        if p not in (1, 2):
            raise ValueError(f"its p is {p}; 1 and 2 are supported")
        if p == 1:
            norm = relax.op.sum(relax.op.abs(data), [axis], True)
        else:
            norm = relax.op.sqrt(relax.op.sum(relax.op.multiply(data, data), [axis], True))
        norm = bb.emit(norm)
        is_zero = relax.op.equal(norm, constant_like(data, 0))
        safe = bb.emit(relax.op.where(is_zero, constant_like(data, 1), norm))
        return relax.op.divide(data, safe)


#: ONNX operator -> converter.
NORMALIZE = {
    "GroupNormalization": GroupNormalization,
    "InstanceNormalization": InstanceNormalization,
    "LRN": LRN,
    "LayerNormalization": LayerNormalization,
    "LpNormalization": LpNormalization,
    "MeanVarianceNormalization": MeanVarianceNormalization,
    "RMSNormalization": RMSNormalization,
}
