"""Anchors of 16-bit data and 8-bit weights: sums that float32 does not hold, exactly.

    x = 256 * high + low      sum(x w) = 256 * sum(high w) + sum(low w)

The halves are 8-bit numbers, and their sums 32-bit ones: two integer products, on the kernels that
8-bit networks run on. What follows is computed in float64, which holds all of it. TensorFlow Lite
multiplies these sums with fractions of 16 bits, of 32 in products of matrices, and rounds once;
where the bias has 32 bits the sums have, too, and are rounded as those of 8-bit data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.fixed_point import bounded, multiplied, once, out_scale


def has_wide_sums(call: Call, data: int = 0, weight: int = 1) -> bool:
    """Whether the operator multiplies 16-bit data with constant 8-bit weights, zero points all 0,
    to 16-bit results."""
    tensors = [call.tensor(data), call.tensor(weight), call.out()]
    if not all(tensor.quantized for tensor in tensors) or call.array(weight) is None:
        return False
    names = [tensor.dtype.name for tensor in tensors if tensor.dtype is not None]
    zeros = [q.zero_point for tensor in tensors if (q := tensor.quantization) is not None]
    return names == ["int16", "int8", "int16"] and not any(zero.any() for zero in zeros)


def halves(call: Call, name: str, dtype: str | None = None) -> list[str]:
    """The high and the low half of the int16 value ``name``: int8 and uint8, or ``dtype``."""
    number = call.cast(name, "float32")
    high = call.node("Floor", call.node("Mul", number, call.w.constant(np.float32(1 / 256))))
    low = call.node("Sub", number, call.node("Mul", high, call.w.constant(np.float32(256))))
    return [call.cast(high, dtype or "int8"), call.cast(low, dtype or "uint8")]


def integer_sums(call: Call, kind: str, name: str, weight: np.ndarray, **attributes: Any) -> str:
    """The sums, in float64.

    Args:
        call: the operator.
        kind: `ConvInteger` or `MatMulInteger`.
        name: the int16 data, as the operator takes it.
        weight: int8, likewise.
        attributes: of the operator.
    """
    high, low = halves(call, name)
    # Unsigned by unsigned: ONNX Runtime's product of unsigned and signed saturates on some CPUs.
    shifted = (weight.astype(np.int16) + 128).astype(np.uint8)
    place = call.w.constant(np.uint8(128))
    return joined(
        call,
        call.node(kind, high, call.w.constant(weight), **attributes),
        call.node(kind, low, call.w.constant(shifted), "", place, **attributes),
    )


def joined(call: Call, high: str, low: str) -> str:
    """The sums of both halves as those of the whole numbers, in float64."""
    wide = call.node("Mul", call.cast(high, "float64"), call.w.constant(np.float64(256)))
    return call.node("Add", wide, call.cast(low, "float64"))


def requantized(
    call: Call, sums: str, bias: int, shape: Sequence[int], fused: int, data: int = 0
) -> str:
    """``sums`` with their bias as the int16 numbers of the output.

    Args:
        call: the operator; its weight is input 1.
        sums: float64.
        bias: which input is the bias.
        shape: of one number a channel, to be broadcast to the sums.
        fused: the activation's number in the schema.
        data: which input is the data.
    """
    source, weight = call.tensor(data).quantization, call.tensor(1).quantization
    assert source is not None and weight is not None
    factor = source.scale.astype(np.float64) * weight.scale.astype(np.float64) / out_scale(call)
    factor = factor.reshape(shape if factor.size > 1 else ())
    narrow = False
    if call.has(bias):
        units = call.constant(bias)
        narrow = units.dtype == np.int32
        sums = call.node("Add", sums, call.w.constant(units.astype(np.float64).reshape(shape)))
    if narrow:
        steps = multiplied(call, sums, factor)
    else:
        steps = once(call, sums, factor, 31 if call.operator.kind == "FULLY_CONNECTED" else 15)
    return call.cast(bounded(call, steps, fused), "int16")
