"""Results counted in the steps of their output: one float32 multiplication, as in other tools."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import (
    dequantized,
    module,
    operators,
    quantized,
    relax,
    tensor,
    value_of,
    weight,
)

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.rewriter import const, const_value

HERE = targets.detect()
RNG = np.random.default_rng(5)
W = RNG.integers(-127, 128, (20, 6)).astype(np.int8)
OWN, IMPORTED = np.float32([0.5] * 6), np.float32([0.1, 0.3, 0.7, 0.011, 0.013, 0.7])
DATA, OUT = (0.017, 7), (0.9, 100)
#: In float32, of whole numbers of units, as an int32 bias is.
UNIT = DATA[0] * IMPORTED.astype(np.float64)
BIAS = (np.rint(RNG.normal(0, 20, 6) / UNIT) * UNIT).astype(np.float32)


def product(scale, between=None, output=OUT, both=False):
    """Data in uint8, a weight, its bias, ``between``, and the integers of the output."""

    def build(emit, q):
        x = emit(dequantized(q, *DATA), "x")
        m = emit(relax.op.matmul(x, emit(weight(W, scale, 1), "w")), "m")
        b = emit(relax.op.add(m, const(BIAS)), "b")
        y = between(emit, b) if between else b
        integers = emit(quantized(y, *output), "y")
        return [integers, b] if both else integers

    return module(build, q=tensor((9, 20), "uint8"))


def scale_of(mod):
    """The scale of the ``quantize`` of the result."""
    (call,) = [
        each.value
        for each in mod["main"].body.blocks[0].bindings
        if "quantize(" in str(each.value) and "dequantize" not in str(each.value)
    ]
    return float(const_value(call.args[1]))


def test_the_numbers_are_those_of_one_multiplication():
    q = np.random.default_rng(1).integers(0, 256, (9, 20)).astype(np.uint8)
    (actual,), _ = run_here(product(IMPORTED), HERE, [q])
    combined = IMPORTED.astype(np.float64) * np.float32(DATA[0])
    acc = (q.astype(np.int64) - DATA[1]) @ W.astype(np.int64) + np.rint(BIAS / combined)
    steps = acc.astype(np.float32) * (np.float32(DATA[0]) * IMPORTED / np.float32(OUT[0]))
    np.testing.assert_array_equal(actual, np.clip(np.rint(steps) + OUT[1], 0, 255))


def relu_of_what_saturates(emit, b):
    return emit(relax.op.nn.relu(b), "r")


def reshaped(emit, b):
    return emit(relax.op.reshape(b, (3, 3, 6)), "r")


@pytest.mark.parametrize(
    "between, output", [(None, OUT), (reshaped, OUT), (relu_of_what_saturates, (0.9, 0))]
)
def test_nothing_but_saturation_and_moves_between(between, output):
    mod = realize(product(IMPORTED, between, output), HERE)
    assert scale_of(mod) == 1
    assert "nn.relu" not in operators(mod)


def test_scales_of_our_own_weights_stay_real():
    """They are bfloat16, and 16 bits a channel; their kernels and records don't change."""
    assert scale_of(realize(product(OWN), HERE)) == pytest.approx(OUT[0])
    assert str(value_of(realize(product(OWN), HERE), "m_real").args[1].fields[2].ty.dtype) == (
        "uint16"
    )


@pytest.mark.parametrize(
    "between",
    [
        relu_of_what_saturates,  # The zero point is 100: it cuts off what saturation would not.
        lambda emit, b: emit(relax.op.tanh(b), "t"),
        lambda emit, b: emit(relax.op.add(b, b), "s"),
    ],
)
def test_more_between_reads_real_numbers(between):
    assert scale_of(realize(product(IMPORTED, between), HERE)) == pytest.approx(OUT[0])


def test_a_second_reader_gets_real_numbers():
    assert scale_of(realize(product(IMPORTED, both=True), HERE)) == pytest.approx(OUT[0])
