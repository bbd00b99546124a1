"""What TensorFlow Lite's own integer kernels round that Q/DQ around an operator would not.

They multiply an int32 by a 32-bit fraction and a power of two, and round twice: to the next
integer behind the fraction, and again, halves away from zero, behind the power. A number of 7 bits
behind the point is on a half one time in 128 then, and the two roundings together decide otherwise
than one would. (Convolutions, sums and the like are computed by its other kernels, which round the
product with a float once.)

What only changes the scale of 8-bit numbers has 8 bits behind the point (:func:`rescaled`).

Integers here are float32 that hold whole numbers (float64 where an operand has 16 bits):
:func:`integers` less their zero point, as `DequantizeLinear` gives them with a scale of 1, and
:func:`give_steps` quantizes them likewise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.network import Tensor


def is_short(tensor: Tensor) -> bool:
    """Whether ``tensor`` is quantized to 16 bits."""
    return tensor.quantized and tensor.dtype == np.int16


def is_byte(tensor: Tensor) -> bool:
    """Whether ``tensor`` is quantized to 8 bits."""
    return tensor.quantized and tensor.dtype in (np.int8, np.uint8)


def integers(call: Call, i: int) -> str:
    """Input ``i`` as the whole numbers that it stores, less its zero point."""
    tensor = call.tensor(i)
    assert tensor.quantization is not None
    if not tensor.quantization.per_tensor:
        raise ValueError("an activation has several scales")
    if tensor.dtype == np.int16:
        zero = np.float64(tensor.quantization.zero_point.reshape(()))
        wide = call.cast(call.stored(i), "float64")
        return call.node("Sub", wide, call.w.constant(zero)) if zero else wide
    zero = tensor.quantization.zero_point.reshape(()).astype(tensor.dtype)
    return call.node(
        "DequantizeLinear", call.stored(i), call.w.constant(np.float32(1)), call.w.constant(zero)
    )


def scale_of(call: Call, i: int) -> float:
    """The scale of input ``i``."""
    quantization = call.tensor(i).quantization
    assert quantization is not None
    return float(quantization.scale.reshape(-1)[0])


def fraction_of(factor: np.ndarray | float, bits: int) -> np.ndarray:
    """``factor`` (above 0) as a fraction of so many bits times a power of two."""
    mantissa, exponent = np.frexp(np.asarray(factor, np.float64))
    fraction = np.rint(np.ldexp(mantissa, 31))
    if bits < 31:
        cut = 31 - bits
        rounded = np.floor((fraction + 2.0 ** (cut - 1)) / 2.0**cut)
        fraction = np.minimum(rounded, 2.0**bits - 1) * 2.0**cut
    return np.ldexp(fraction, exponent - 31)


def multiplied(
    call: Call,
    name: str,
    factor: np.ndarray | float,
    shift: int | None = None,
    real: type | None = None,
) -> str:
    """``factor`` times the whole numbers ``name``, rounded to whole numbers as it does that.

    Args:
        call: the operator.
        name: their value.
        factor: above 0; one number, or an array that is broadcast.
        shift: bits behind the point after the first rounding, where they are not as the fraction
            of ``factor`` has them: from a half to 1.
        real: the type of ``name`` and the result, where it is not that of the operator's numbers.
    """

    def number(value: np.ndarray | float) -> str:
        return call.w.constant(np.asarray(value, real or _dtype(call)))

    if shift is None:
        shifts = np.maximum(-np.frexp(np.asarray(factor, np.float64))[1], 0)
    else:
        shifts = np.asarray(max(shift, 0))
    steps = call.node("Mul", name, number(np.ldexp(fraction_of(factor, 31), shifts)))
    steps = call.node("Floor", call.node("Add", steps, number(0.5)))
    if not shifts.any():
        return steps
    steps = call.node("Mul", steps, number(np.ldexp(1.0, -shifts)))
    whole = call.node("Floor", call.node("Add", call.node("Abs", steps), number(0.5)))
    return call.node("Mul", whole, call.node("Sign", steps))


def once(call: Call, name: str, factor: np.ndarray | float, bits: int) -> str:
    """``factor``, a fraction of so many bits, times the sums ``name``, rounded once."""
    steps = _times(call, name, fraction_of(factor, bits))
    return call.node("Floor", call.node("Add", steps, _number(call, 0.5)))


def rescaled(call: Call, name: str, ratio: float) -> str:
    """``ratio`` times the 8-bit numbers ``name``, rounded as where only the scale changes."""
    if not 2**-8 <= np.float32(ratio) <= 2**7:
        return multiplied(call, name, ratio)
    steps = _times(call, name, float(np.rint(np.float32(ratio) * 2**8)) / 2**8)
    return call.node("Floor", call.node("Add", steps, _number(call, 0.5)))


def bounded(call: Call, name: str, fused: int) -> str:
    """The whole numbers ``name`` of the output, whose zero point is 0, within a fused activation.

    Raises:
        ValueError: it is none that only bounds them.
    """
    ends = {0: (-np.inf, np.inf), 1: (0.0, np.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}.get(fused)
    if ends is None:
        raise ValueError(f"its fused activation {fused} is not known for 16-bit data")
    limits = np.iinfo(np.int16)
    steps = np.rint(np.clip(np.array(ends) / out_scale(call), limits.min, limits.max))
    return call.node("Clip", name, *(_number(call, float(end)) for end in steps))


def give_steps(call: Call, name: str) -> None:
    """Make ``name``, in steps of the result from its zero point, the output: it saturates."""
    quantization = call.out().quantization
    assert quantization is not None
    zero = quantization.zero_point.reshape(()).astype(call.out().dtype)
    if call.out().dtype == np.int16:
        limits = np.iinfo(np.int16)
        moved = call.node("Add", name, _number(call, float(zero))) if zero else name
        bounds = (_number(call, float(limit)) for limit in (limits.min, limits.max))
        call.give_stored(call.cast(call.node("Clip", moved, *bounds), "int16"))
        return
    if _dtype(call) == np.float64:
        name = call.cast(name, "float32")
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


def _times(call: Call, name: str, factor: np.ndarray | float) -> str:
    return call.node("Mul", name, _number(call, factor))


def _number(call: Call, value: np.ndarray | float) -> str:
    return call.w.constant(np.asarray(value, _dtype(call)))


def _dtype(call: Call) -> Any:
    """The type that holds the whole numbers of an operator: float32 up to 24 bits."""
    return np.float64 if any(map(is_short, call.tensors())) else np.float32
