"""Constants that an anchor (a convolution, a product) multiplies with, and its bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tvmcomp.frontend.tflite.arrays import dequantized
from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.network import Tensor


def weight(call: Call, i: int, axes: Sequence[int]) -> str:
    """Input ``i`` with its axes permuted, in real numbers.

    A quantized constant stays one, with a DequantizeLinear: its integers are what is compiled.

    Args:
        call: the operator.
        i: which input.
        axes: the permutation to the layout that ONNX has weights in.
    """
    array, tensor = call.array(i), call.tensor(i)
    if array is None:
        return call.transposed(call.real(i), axes)
    moved = np.ascontiguousarray(np.transpose(array, axes))
    quantization = tensor.quantization
    if not tensor.quantized or quantization is None:
        return call.w.constant(moved, tensor.name)
    name = call.w.constant(moved, tensor.name)
    scale = quantization.scale * _reduced(call, call.tensor(0), tensor)
    if quantization.per_tensor:
        quantization = replace(quantization, scale=scale)
        return call.dequantize(name, quantization, array.dtype)
    return call.w.node(
        "DequantizeLinear",
        name,
        call.w.constant(scale),
        call.w.constant(quantization.zero_point.astype(array.dtype)),
        axis=list(axes).index(quantization.axis),
    )


def bias(call: Call, i: int, data: Tensor, kernel: Tensor) -> str:
    """The bias in input ``i``; ``""`` where there is none.

    An integer one counts in units of the data's scale times the weights', whatever the file notes
    for it.
    """
    if not call.has(i):
        return ""
    array, tensor = call.array(i), call.tensor(i)
    if array is None:
        return call.real(i)
    if array.dtype.kind != "i":
        return call.w.constant(array.reshape(-1), tensor.name)
    if data.quantization is None or kernel.quantization is None or not data.quantized:
        return call.w.constant(dequantized(array, tensor.quantization), tensor.name)
    scale = (data.quantization.scale * kernel.quantization.scale).astype(np.float32)
    if array.dtype == np.int64:  # of 16-bit data; ONNX dequantizes 32 bits at most
        factor = scale.astype(np.float64) * _reduced(call, data, kernel)
        return call.w.constant((array * factor).astype(np.float32), tensor.name)
    return call.w.node(
        "DequantizeLinear",
        call.w.constant(array.reshape(-1), tensor.name),
        call.w.constant(scale if scale.size > 1 else scale.reshape(())),
        axis=0 if scale.size > 1 else None,
    )


def _reduced(call: Call, data: Tensor, kernel: Tensor) -> np.ndarray:
    """How much larger the factors are by which TensorFlow Lite scales an anchor's sums than those
    that the file says, one a channel.

    Sums of 16-bit data and 8-bit weights take 64 bits. It multiplies them with factors of 16 bits,
    ``(f + 2^15) >> 16`` of the 32-bit ones of other sums: up to a step of 16 bits less exact, in
    each layer anew.
    """
    out = call.out()
    ones = np.ones(kernel.quantization.scale.shape if kernel.quantization else (1,), np.float32)
    wide = any(
        index >= 0 and call.values.subgraph.tensors[index].dtype == np.int64
        for index in call.operator.inputs[2:]
    )
    if not wide or not data.quantized or not out.quantized or kernel.quantization is None:
        return ones
    assert data.quantization is not None and out.quantization is not None
    if data.dtype != np.int16:
        return ones
    scale = kernel.quantization.scale.astype(np.float64)
    factor = data.quantization.scale.astype(np.float64) * scale / out.quantization.scale
    mantissa, exponent = np.frexp(factor)
    fixed = np.rint(mantissa * 2**31).astype(np.int64)
    fixed = np.where(fixed < 0x7FFF0000, (fixed + (1 << 15)) >> 16, 0x7FFF)
    return (np.ldexp(fixed / 2**15, exponent) / factor).astype(np.float32)
