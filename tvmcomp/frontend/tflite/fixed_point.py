"""What TensorFlow Lite's own integer kernels round that Q/DQ around an operator would not.

They multiply an int32 by a 32-bit fraction and a power of two, and round twice: to the next
integer behind the fraction, and again, halves away from zero, behind the power. A number of 7 bits
behind the point is on a half one time in 128 then, and the two roundings together decide otherwise
than one would. (Convolutions, sums and the like are computed by its other kernels, which round the
product with a float once.)

What only changes the scale of 8-bit numbers has 8 bits behind the point (:func:`rescaled`).

Integers here are float32 that hold whole numbers: :func:`integers` less their zero point, as
`DequantizeLinear` gives them with a scale of 1, and :func:`give_steps` quantizes them likewise.
"""

from __future__ import annotations

import math

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.network import Tensor


def is_byte(tensor: Tensor) -> bool:
    """Whether ``tensor`` is quantized to 8 bits."""
    return tensor.quantized and tensor.dtype in (np.int8, np.uint8)


def integers(call: Call, i: int) -> str:
    """Input ``i`` as the whole numbers that it stores, less its zero point."""
    tensor = call.tensor(i)
    assert tensor.quantization is not None
    if not tensor.quantization.per_tensor:
        raise ValueError("an activation has several scales")
    zero = tensor.quantization.zero_point.reshape(()).astype(tensor.dtype)
    return call.node(
        "DequantizeLinear", call.stored(i), call.w.constant(np.float32(1)), call.w.constant(zero)
    )


def scale_of(call: Call, i: int) -> float:
    """The scale of input ``i``."""
    quantization = call.tensor(i).quantization
    assert quantization is not None
    return float(quantization.scale.reshape(-1)[0])


def multiplied(call: Call, name: str, factor: float) -> str:
    """``factor`` times the whole numbers ``name``, rounded to whole numbers as it does that.

    Args:
        call: the operator.
        name: a float32 value.
        factor: above 0.
    """
    mantissa, exponent = math.frexp(factor)
    fraction = math.ldexp(round(math.ldexp(mantissa, 31)), -31)
    shift = max(-exponent, 0)
    steps = _times(call, name, math.ldexp(fraction, exponent + shift))
    steps = call.node("Floor", call.node("Add", steps, _number(call, 0.5)))
    if not shift:
        return steps
    steps = _times(call, steps, 2.0**-shift)
    whole = call.node("Floor", call.node("Add", call.node("Abs", steps), _number(call, 0.5)))
    return call.node("Mul", whole, call.node("Sign", steps))


def rescaled(call: Call, name: str, ratio: float) -> str:
    """``ratio`` times the 8-bit numbers ``name``, rounded as where only the scale changes."""
    if not 2**-8 <= np.float32(ratio) <= 2**7:
        return multiplied(call, name, ratio)
    steps = _times(call, name, float(np.rint(np.float32(ratio) * 2**8)) / 2**8)
    return call.node("Floor", call.node("Add", steps, _number(call, 0.5)))


def give_steps(call: Call, name: str) -> None:
    """Make ``name``, in steps of the result from its zero point, the output: it saturates."""
    quantization = call.out().quantization
    assert quantization is not None
    zero = quantization.zero_point.reshape(()).astype(call.out().dtype)
    one = call.w.constant(np.float32(1))
    call.give_stored(call.node("QuantizeLinear", name, one, call.w.constant(zero)))


def give_stored_steps(call: Call, name: str) -> None:
    """As :func:`give_steps` of numbers that are not whole: rounded with their zero point added, on
    which halves depend."""
    quantization = call.out().quantization
    assert quantization is not None
    zero = _number(call, float(quantization.zero_point.reshape(-1)[0]))
    one, none = call.w.constant(np.float32(1)), call.w.constant(np.zeros((), call.out().dtype))
    call.give_stored(call.node("QuantizeLinear", call.node("Add", name, zero), one, none))


def out_scale(call: Call) -> float:
    """The scale of the output."""
    quantization = call.out().quantization
    assert quantization is not None
    return float(quantization.scale.reshape(-1)[0])


def _times(call: Call, name: str, factor: float) -> str:
    return call.node("Mul", name, _number(call, factor))


def _number(call: Call, value: float) -> str:
    return call.w.constant(np.float32(value))
