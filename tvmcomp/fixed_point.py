"""Fixed-point numbers as LiteRT's integer LSTM has them: what a layer's arithmetic is made of.

A gate's sum is Q3.12 in 16 bits, what a sigmoid or tanh gives Q0.15, the cell a power of two's
multiple in 16 bits, the state 8 bits with a zero point. From one scale to another a number is
multiplied with a :class:`Multiplier` (B. Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 2.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

#: Fraction bits of a gate's sum.
GATE_BITS = 12
#: The power of two of the cell's scale: its tanh is computed with 0 to 6 integer bits.
CELL_EXPONENTS = range(-15, -8)


class Multiplier(msgspec.Struct, frozen=True):
    """``mantissa / 2^31 * 2^exponent``; the mantissa is 0, or has its highest bit (30) set."""

    mantissa: int
    exponent: int


class FixedPointLstm(msgspec.Struct, frozen=True):
    """The numbers of one layer. Gates are in ONNX's order: input, output, forget, cell.

    Attributes:
        of_input: to a gate's Q3.12 from the inputs' products with its weights.
        of_state: the same from the state's products.
        of_output: to the state from the product of output gate and tanh of the cell, Q0.30.
        zero_point: of the state as it is given.
        state_zero_point: of the state as it is multiplied, and what it starts as. (It is the same
            number but where a file's quantizer saw another range.)
        cell_exponent: one of :data:`CELL_EXPONENTS`.
        cell_clip: the cell stays within so many steps of 0; 0 for no bound.
    """

    of_input: tuple[Multiplier, ...]
    of_state: tuple[Multiplier, ...]
    of_output: Multiplier
    zero_point: int
    state_zero_point: int
    cell_exponent: int
    cell_clip: int = 0


def multiplier(factor: float) -> Multiplier:
    """``factor`` to 31 bits; 0 where it is below 2^-32.

    Raises:
        ValueError: it is no finite number, or 2^30 and more.
    """
    if not 0 <= factor < 2**30:
        raise ValueError(f"its scales are {factor} to 1, which no fixed-point number can be")
    mantissa, exponent = math.frexp(factor)
    fixed = math.floor(abs(mantissa) * 2**31 + 0.5)
    if fixed == 2**31:
        fixed, exponent = 2**30, exponent + 1
    return Multiplier(fixed, exponent) if exponent >= -31 else Multiplier(0, 0)


def fixed_point_lstm(
    x_scale: float,
    weight_scales: Sequence[float],
    output: tuple[float, int],
    state: tuple[float, int],
    recurrent_scales: Sequence[float],
    cell_exponent: int,
    cell_clip: float,
) -> FixedPointLstm:
    """The numbers of a layer of these scales, computed in float32 as LiteRT does.

    Args:
        x_scale: of the input.
        weight_scales: of each gate's weights for the input.
        output: scale and zero point of the state as it is given.
        state: scale and zero point of the state as it is multiplied.
        recurrent_scales: of each gate's weights for the state.
        cell_exponent: the cell's scale is 2 to this power.
        cell_clip: bound of the cell's value; 0 for none.

    Raises:
        ValueError: a number is not in its range.
    """
    if cell_exponent not in CELL_EXPONENTS:
        raise ValueError(f"the scale of its cell is 2^{cell_exponent}; 2^-15 to 2^-9 can be used")
    if not all(-128 <= zero_point <= 127 for _, zero_point in (output, state)):
        raise ValueError(f"the zero points of its state are {output[1]} and {state[1]}")
    if not cell_clip >= 0:
        raise ValueError(f"the limit of its cell is {cell_clip}")
    f32 = np.float32
    scales = [x_scale, output[0], state[0], *weight_scales, *recurrent_scales]
    if not all(np.isfinite(scale) and f32(scale) > 0 for scale in scales):
        raise ValueError("a scale of it is not a positive number")
    step = f32(2.0**-GATE_BITS)

    def to_gate(scale: float, of: float) -> Multiplier:
        return multiplier(float(f32(scale) * f32(of) / step))

    of_output = multiplier(float(f32(2.0**-15 / float(f32(output[0])) * 2.0**-15)))
    steps = int(min(max(f32(cell_clip) / f32(2.0**cell_exponent), -32768.0), 32767.0))
    return FixedPointLstm(
        tuple(to_gate(scale, x_scale) for scale in weight_scales),
        tuple(to_gate(scale, state[0]) for scale in recurrent_scales),
        of_output,
        output[1],
        state[1],
        cell_exponent,
        steps,
    )
