"""QUANTIZE, DEQUANTIZE, FAKE_QUANT and DENSIFY."""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.tflite.arrays import dequantized
from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.fixed_point import (
    give_steps,
    integers,
    is_byte,
    is_short,
    multiplied,
    out_scale,
    rescaled,
    scale_of,
)


def quantize(call: Call) -> None:
    """QUANTIZE real numbers, or quantized ones anew."""
    source, out = call.tensor(0), call.out()
    if is_byte(source) and is_byte(out) and source.dtype == out.dtype:
        give_steps(call, rescaled(call, integers(call, 0), scale_of(call, 0) / out_scale(call)))
    elif source.quantized and out.quantized:
        give_steps(call, multiplied(call, integers(call, 0), scale_of(call, 0) / out_scale(call)))
    elif is_short(out) and source.dtype == np.float32:
        _quantize_to_short(call)
    else:
        call.give(call.real(0))


def _quantize_to_short(call: Call) -> None:
    """It multiplies by the reciprocal of the scale, which matters in 16 bits."""
    quantization = call.out().quantization
    assert quantization is not None
    inverse = call.w.constant(np.float32(1) / np.float32(out_scale(call)))
    one = call.w.constant(np.float32(1))
    zero = call.w.constant(quantization.zero_point.reshape(()).astype(np.int16))
    steps = call.node("Mul", call.real(0), inverse)
    call.give_stored(call.node("QuantizeLinear", steps, one, zero))


def dequantize(call: Call) -> None:
    """DEQUANTIZE; half-precision constants are float32 ones from here on."""
    array = call.array(0)
    if array is not None and array.dtype.kind == "f":
        call.give_array(array.astype(np.float32))
    elif array is not None and not call.tensor(0).quantized:
        call.give_array(dequantized(array, call.tensor(0).quantization))
    elif call.tensor(0).quantized:
        call.give(call.real(0))
    else:
        call.give(call.cast(call.stored(0), "float32"))


def densify(call: Call) -> None:
    """DENSIFY: a constant that was read as a dense one already."""
    call.give_array(call.constant(0))


def fake_quant(call: Call) -> None:
    """FAKE_QUANT: to the nearest of so many steps between two numbers, 0 among them."""
    options = call.options("FakeQuantOptions")
    low, high, bits = options.Min(), options.Max(), options.NumBits()
    if not (2 <= bits <= 8 and low < high):
        raise ValueError(f"{bits} bits from {low} to {high} are not supported")
    least, most = int(options.NarrowRange()), 2**bits - 1
    scale = (high - low) / (most - least)
    zero = int(np.clip(round(least - low / scale), least, most))
    step = call.w.constant(np.float32(scale))
    bounds = [call.w.constant(np.float32((end - zero) * scale)) for end in (least, most)]
    place = call.w.constant(np.uint8(zero))
    data = call.node("Clip", call.real(0), *bounds)
    call.give(
        call.node("DequantizeLinear", call.node("QuantizeLinear", data, step, place), step, place)
    )


#: Operator of the source -> converter.
QUANTIZE = {
    "DENSIFY": densify,
    "DEQUANTIZE": dequantize,
    "FAKE_QUANT": fake_quant,
    "QUANTIZE": quantize,
}
