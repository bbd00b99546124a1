"""Constants that an anchor (a convolution, a product) multiplies with, and its bias."""

from __future__ import annotations

from collections.abc import Sequence

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
    if quantization.per_tensor:
        return call.dequantize(name, quantization, array.dtype)
    return call.w.node(
        "DequantizeLinear",
        name,
        call.w.constant(quantization.scale),
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
        return call.w.constant((array * scale.astype(np.float64)).astype(np.float32), tensor.name)
    return call.w.node(
        "DequantizeLinear",
        call.w.constant(array.reshape(-1), tensor.name),
        call.w.constant(scale if scale.size > 1 else scale.reshape(())),
        axis=0 if scale.size > 1 else None,
    )
