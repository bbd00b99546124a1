"""Our converters of convolution, batch normalization and padding.

They replace TVM's where those leave work behind that a pass would have to clean up (reshaped
biases, pads as operators of their own), or are wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.onnx.converter import Converter
from tvmcomp.frontend.onnx.values import (
    array_of,
    constant,
    constant_like,
    dtype_of,
    ints_of,
    shape_of,
)
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import Builder, Expr, Inputs

relax = tvm.relax


def explicit_pads(
    attr: dict[str, Any], spatial: list[int], kernel: list[int], strides: list[int]
) -> list[int]:
    """Return the pads of a convolution or pool, all begins then all ends, with auto_pad resolved.

    ``kernel`` holds the extents with dilation: ``(size - 1) * dilation + 1``.
    """
    auto_pad = attr.get("auto_pad", b"NOTSET").decode()
    if auto_pad in ("", "NOTSET"):
        return list(attr.get("pads", [0] * 2 * len(spatial)))
    if auto_pad == "VALID":
        return [0] * 2 * len(spatial)
    totals = [
        max((-(-size // stride) - 1) * stride + extent - size, 0)
        for size, extent, stride in zip(spatial, kernel, strides, strict=True)
    ]
    small, large = [total // 2 for total in totals], [-(-total // 2) for total in totals]
    return small + large if auto_pad == "SAME_UPPER" else large + small


def _add_bias(bb: Builder, data: Expr, bias: Expr, rank: int) -> Expr:
    """Add a bias of shape (C,) to (N, C, …): a constant one in the shape (1, C, 1, …)."""
    if bias is None:
        return data
    shape = (1, -1) + (1,) * (rank - 2)
    array = array_of(bias)
    if array is not None:
        return relax.op.add(data, constant(array.reshape(shape)))
    return relax.op.add(data, relax.op.reshape(bias, shape))


class Conv(Converter):
    """Conv: 1-D, 2-D and 3-D."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, weight, bias = inputs[0], inputs[1], inputs[2]
        shape, kernel = shape_of(data), shape_of(weight)[2:]
        dims = len(kernel)
        strides = list(attr.get("strides", [1] * dims))
        dilations = list(attr.get("dilations", [1] * dims))
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        result = per_dims("conv{}d", dims)(
            data,
            weight,
            strides=strides,
            padding=explicit_pads(attr, shape[2:], extents, strides),
            dilation=dilations,
            groups=attr.get("group", 1),
        )
        return _add_bias(bb, result, bias, len(shape))


class ConvTranspose(Converter):
    """ConvTranspose: 1-D, 2-D and 3-D."""

    @classmethod
    def _impl_v1(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data, weight, bias = inputs[0], inputs[1], inputs[2]
        shape, kernel = shape_of(data), shape_of(weight)[2:]
        dims = len(kernel)
        strides = list(attr.get("strides", [1] * dims))
        dilations = list(attr.get("dilations", [1] * dims))
        extra = list(attr.get("output_padding", [0] * dims))
        pads = list(attr.get("pads", [0] * 2 * dims))
        # The extent with no pads at all.
        full = [
            (shape[2 + i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 + extra[i]
            for i in range(dims)
        ]
        auto_pad = attr.get("auto_pad", b"NOTSET").decode()
        wanted = list(attr.get("output_shape", ()))[-dims:]
        if not wanted and auto_pad.startswith("SAME"):
            wanted = [shape[2 + i] * strides[i] for i in range(dims)]
        if wanted:
            totals = [have - want for have, want in zip(full, wanted, strict=True)]
            # An output that is larger than the full extent is padded with zeros at its end.
            extra = [e + max(-t, 0) for e, t in zip(extra, totals, strict=True)]
            small = [max(t, 0) // 2 for t in totals]
            large = [max(t, 0) - s for t, s in zip(totals, small, strict=True)]
            pads = small + large if auto_pad == "SAME_UPPER" else large + small
        elif auto_pad == "VALID":
            pads = [0] * 2 * dims
        result = per_dims("conv{}d_transpose", dims)(
            data,
            weight,
            strides=strides,
            padding=pads,
            output_padding=extra,
            dilation=dilations,
            groups=attr.get("group", 1),
        )
        return _add_bias(bb, result, bias, len(shape))


class BatchNormalization(Converter):
    """BatchNormalization of inference, as one multiplication and one addition per channel."""

    @classmethod
    def _impl_v7(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        if attr.get("training_mode", 0):
            raise ValueError("training_mode=1 is not supported; export for inference")
        data, epsilon = inputs[0], attr.get("epsilon", 1e-5)
        rank = len(shape_of(data))
        shape = (1, -1) + (1,) * (rank - 2) if rank > 1 else (-1,)
        arrays = [array_of(value) for value in inputs[1:5]]
        if any(array is None for array in arrays):
            return cls._of_run_time(bb, data, inputs[1:5], shape, epsilon)
        gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
        scale = gamma / np.sqrt(variance + epsilon)
        factor = constant_like(data, scale.reshape(shape))
        offset = constant_like(data, (beta - mean * scale).reshape(shape))
        return relax.op.add(relax.op.multiply(data, factor), offset)

    @staticmethod
    def _of_run_time(
        bb: Builder, data: Expr, statistics: Any, shape: tuple[int, ...], epsilon: float
    ) -> Expr:
        def cast(value: Expr, dtype: str) -> Any:
            value = bb.normalize(value)
            return value if dtype_of(value) == dtype else bb.emit(relax.op.astype(value, dtype))

        wide = "float64" if dtype_of(data) == "float64" else "float32"
        gamma, beta, mean, variance = (cast(value, wide) for value in statistics)
        root = relax.op.rsqrt(relax.op.add(variance, constant_like(variance, epsilon)))
        scale = bb.emit(relax.op.multiply(gamma, root))
        offset = bb.emit(relax.op.subtract(beta, relax.op.multiply(mean, scale)))
        factor, offset = (
            relax.op.reshape(cast(value, dtype_of(data)), shape) for value in (scale, offset)
        )
        return relax.op.add(relax.op.multiply(data, factor), offset)


class Pad(Converter):
    """Pad with pads known at build time, in any mode; negative pads cut."""

    _modes = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}  # noqa: RUF012

    @classmethod
    def _impl_v2(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        value = float(attr.get("value", 0.0))
        return cls._pad(bb, inputs[0], list(attr["pads"]), value, attr)

    @classmethod
    def _impl_v11(cls, bb: Builder, inputs: Inputs, attr: dict[str, Any], params: Any) -> Expr:
        data = inputs[0]
        rank = len(shape_of(data))
        given = ints_of(inputs[1], "pads")
        axes = range(rank) if inputs[3] is None else ints_of(inputs[3], "axes")
        pads = [0] * 2 * rank
        for index, axis in enumerate(axes):
            pads[axis % rank] = given[index]
            pads[axis % rank + rank] = given[index + len(given) // 2]
        value = array_of(inputs[2]) if inputs[2] is not None else np.zeros(())
        if value is not None:
            return cls._pad(bb, data, pads, value.reshape(()).item(), attr)
        padded = bb.emit(cls._pad(bb, data, pads, 0, attr))
        if attr.get("mode", b"constant") != b"constant":
            return padded
        kept = [(max(pads[i], 0), max(pads[i + rank], 0)) for i in range(rank)]
        inner = [size - sum(pair) for size, pair in zip(shape_of(padded), kept, strict=True)]
        within = constant(np.pad(np.ones(inner, "bool"), kept))
        return relax.op.where(within, padded, relax.op.reshape(inputs[2], ()))

    @classmethod
    def _pad(
        cls, bb: Builder, data: Expr, pads: list[int], value: Expr, attr: dict[str, Any]
    ) -> Expr:
        mode = cls._modes[attr.get("mode", b"constant").decode()]
        shape = shape_of(data)
        rank = len(shape)
        cuts = [min(pad, 0) for pad in pads]
        if any(cuts):
            begin = [-cut for cut in cuts[:rank]]
            end = [size + cut for size, cut in zip(shape, cuts[rank:], strict=True)]
            data = bb.emit(relax.op.strided_slice(data, list(range(rank)), begin, end))
        widths = [max(pads[axis + half * rank], 0) for axis in range(rank) for half in (0, 1)]
        if not any(widths):
            return data
        if data.ty.dtype == "bool":
            padded = relax.op.nn.pad(relax.op.astype(data, "int8"), widths, mode, float(value))
            return relax.op.astype(padded, "bool")
        return relax.op.nn.pad(data, widths, mode, float(value))


def per_dims(name: str, dims: int) -> Any:
    """The operator of ``relax.op.nn`` whose name holds the number of spatial dimensions."""
    if dims not in (1, 2, 3):
        raise ValueError(f"{dims} spatial dimensions are not supported; 1 to 3 are")
    return getattr(relax.op.nn, name.format(dims))


#: ONNX operator -> converter.
NN = {
    "BatchNormalization": BatchNormalization,
    "Conv": Conv,
    "ConvTranspose": ConvTranspose,
    "Pad": Pad,
}
