"""An LSTM in integers in numpy, as LiteRT's scalar kernels and gemmlowp define it, in 64 bits."""

from __future__ import annotations

import numpy as np


def high_product(a, b, bits):
    """The saturating, rounding, doubling high product: a division that rounds towards 0."""
    product = np.asarray(a, "int64") * b
    nudge = np.where(product >= 0, 1 << (bits - 2), 1 - (1 << (bits - 2)))
    value = product + nudge
    quotient = np.sign(value) * (np.abs(value) >> (bits - 1))
    return np.clip(quotient, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def divided(x, bits):
    """The rounding division by a power of two."""
    mask = (1 << bits) - 1
    threshold = (mask >> 1) + (np.asarray(x) < 0)
    return (x >> bits) + ((x & mask) > threshold)


def scaled(x, multiplier):
    left = max(multiplier.exponent, 0)
    product = high_product(np.asarray(x, "int64") << left, multiplier.mantissa, 32)
    return divided(product, left - multiplier.exponent)


def saturated(x, bits=16):
    return np.clip(x, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _product(a, b):
    return high_product(a, b, 16)


def _exp_on_negative(x, whole):
    fraction = 15 - whole
    quarter = 1 << (fraction - 2)
    rest = (x & (quarter - 1)) - quarter
    a = saturated(rest << whole) + (1 << 12)
    a2 = _product(a, a)
    a3, a4 = _product(a2, a), _product(a2, a2)
    third, eighth = divided(np.int64(715827883), 16), divided(np.int64(1895147668), 16)
    tail = divided(_product(divided(a4, 2) + a3, third) + a2, 1)
    result = saturated(eighth + _product(eighth, a + tail))
    constants = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for k, constant in zip(range(-2, 5), constants, strict=True):
        if whole > k:
            bit = (rest - x) & (1 << (fraction + k))
            result = np.where(bit, _product(result, divided(np.int64(constant), 16)), result)
    if whole > 5:
        result = np.where(x < divided(np.int64(-(1 << (36 - whole))), 16), 0, result)
    return np.where(x == 0, 32767, result)


def _newton(x):
    half = (x + 32767 + 1) >> 1
    found = 23130 + _product(half, -15420)
    for _ in range(3):
        found = found + saturated(_product(found, 8192 - _product(half, found)) << 2)
    return found


def logistic(x):
    """Of Q3.12 numbers, in Q0.15."""
    x = np.asarray(x, "int64")
    positive = saturated(_newton(_exp_on_negative(-np.abs(x), 3)) << 1)
    return np.where(x == 0, 16384, np.where(x > 0, positive, 32767 - positive))


def tanh(x, whole):
    """Of numbers with so many bits before the point, in Q0.15."""
    x = np.asarray(x, "int64")
    positive = saturated((_newton(_exp_on_negative(-np.abs(x), whole + 1)) - 8192) << 2)
    return np.where(x == 0, 0, np.where(x < 0, -positive, positive))


def lstm(numbers, x, recurrent, backward=False):
    """States int8 ``[T, B, H]`` and the last cell int16 ``[B, H]``.

    Args:
        numbers: the layer's `FixedPointLstm`.
        x: int32 `[T, B, 4, H]`, products of the input.
        recurrent: int8 `[4, H, H]`.
        backward: from the last step to the first.
    """
    steps, batch, _, units = x.shape
    state = np.full((batch, units), numbers.state_zero_point, "int64")
    cell = np.zeros((batch, units), "int64")
    states = np.zeros((steps, batch, units), "int8")
    for t in reversed(range(steps)) if backward else range(steps):
        sums = []
        for gate in range(4):
            own = (state - numbers.state_zero_point) @ recurrent[gate].T.astype("int64")
            given = saturated(scaled(x[t, :, gate].astype("int64"), numbers.of_input[gate]))
            sums.append(saturated(given + scaled(own, numbers.of_state[gate])))
        i, o, f, c = sums
        new = divided(logistic(i) * tanh(c, 3), 30 + numbers.cell_exponent)
        cell = saturated(divided(logistic(f) * cell, 15) + new)
        if numbers.cell_clip:
            cell = np.clip(cell, -numbers.cell_clip, numbers.cell_clip)
        shown = logistic(o) * tanh(cell, 15 + numbers.cell_exponent)
        state = saturated(scaled(shown, numbers.of_output) + numbers.zero_point, 8)
        states[t] = state
    return states, cell.astype("int16")
