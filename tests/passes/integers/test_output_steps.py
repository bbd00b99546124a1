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
from tvmcomp.passes.integers.imported_qdq import quantize_in_layout
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.rewriter import const, const_value

HERE = targets.detect()
RNG = np.random.default_rng(5)
W = RNG.integers(-127, 128, (20, 6)).astype(np.int8)
BFLOAT16, FLOAT32 = np.float32([0.5] * 6), np.float32([0.1, 0.3, 0.7, 0.011, 0.013, 0.7])
DATA, OUT = (0.017, 7), (0.9, 100)
RAW_BIAS = RNG.normal(0, 20, 6)


def whole_bias(scale):
    """In float32, of whole numbers of units, as an int32 bias is."""
    unit = DATA[0] * scale.astype(np.float64)
    return (np.rint(RAW_BIAS / unit) * unit).astype(np.float32)


def own(scale, between=None, output=OUT, both=False, bias=None):
    """Data in uint8, a weight, its bias, ``between``, and the integers of the output."""

    def build(emit, q):
        x = emit(dequantized(q, *DATA), "x")
        m = emit(relax.op.matmul(x, emit(weight(W, scale, 1), "w")), "m")
        b = emit(relax.op.add(m, const(whole_bias(scale) if bias is None else bias)), "b")
        y = between(emit, b) if between else b
        integers = emit(quantized(y, *output), "y")
        return [integers, b] if both else integers

    return module(build, q=tensor((9, 20), "uint8"))


def imported(*arguments, **options):
    """The same as a model brings it."""
    return quantize_in_layout(own(*arguments, **options))


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
    (actual,), _ = run_here(imported(FLOAT32), HERE, [q])
    combined = FLOAT32.astype(np.float64) * np.float32(DATA[0])
    acc = (q.astype(np.int64) - DATA[1]) @ W.astype(np.int64) + np.rint(
        whole_bias(FLOAT32) / combined
    )
    steps = acc.astype(np.float32) * (np.float32(DATA[0]) * FLOAT32 / np.float32(OUT[0]))
    np.testing.assert_array_equal(actual, np.clip(np.rint(steps) + OUT[1], 0, 255))


def relu_of_what_saturates(emit, b):
    return emit(relax.op.nn.relu(b), "r")


def reshaped(emit, b):
    return emit(relax.op.reshape(b, (3, 3, 6)), "r")


def relu_of_what_moves(emit, b):
    """As behind a transposed convolution."""
    return emit(relax.op.nn.relu(reshaped(emit, b)), "rr")


@pytest.mark.parametrize(
    "between, output",
    [
        (None, OUT),
        (reshaped, OUT),
        (relu_of_what_saturates, (0.9, 0)),
        (relu_of_what_moves, (0.9, 0)),
    ],
)
def test_nothing_but_saturation_and_moves_between(between, output):
    mod = realize(imported(FLOAT32, between, output), HERE)
    assert scale_of(mod) == 1
    assert "nn.relu" not in operators(mod)


def scale_dtype(mod):
    """The type that the weight's scales are kept in."""
    return str(value_of(mod, "m_real").args[1].fields[2].ty.dtype)


@pytest.mark.parametrize("scale, dtype", [(BFLOAT16, "uint16"), (FLOAT32, "float32")])
def test_what_was_quantized_here_stays_real(scale, dtype):
    """Its kernels and records don't change."""
    mod = realize(own(scale), HERE)
    assert scale_of(mod) == pytest.approx(OUT[0])
    assert scale_dtype(mod) == dtype


@pytest.mark.parametrize("scale, dtype", [(BFLOAT16, "uint16"), (FLOAT32, "float32")])
def test_whatever_scales_a_model_brings_its_numbers_are_kept(scale, dtype):
    mod = realize(imported(scale), HERE)
    assert scale_of(mod) == 1
    assert scale_dtype(mod) == dtype


def test_a_bias_that_is_no_number_of_units_stays_real_in_a_model_that_came_with_it():
    bias = RAW_BIAS.astype(np.float32)
    assert "add" in operators(realize(imported(BFLOAT16, bias=bias), HERE))
    assert "add" not in operators(realize(own(BFLOAT16, bias=bias), HERE))


def test_a_power_of_two_puts_many_results_into_the_middle_of_two_steps():
    """Each falls to the side to which ONNX Runtime rounds it: half to even."""
    codes, scale = W // 18, np.float32([0.5, 0.25, 1, 2, 0.5, 4])
    rng = np.random.default_rng(2)
    q = rng.integers(0, 256, (9, 20)).astype(np.uint8)
    data, output = (0.5, 100), (8.0, 100)
    unit = scale * np.float32(data[0])
    bias = rng.integers(-90, 90, 6)

    def build(emit, q):
        x = emit(dequantized(q, *data), "x")
        m = emit(relax.op.matmul(x, emit(weight(codes, scale, 1), "w")), "m")
        b = emit(relax.op.add(m, const((bias * unit).astype(np.float32))), "b")
        return emit(quantized(b, *output), "y")

    mod = quantize_in_layout(module(build, q=tensor((9, 20), "uint8")))
    (actual,), _ = run_here(mod, HERE, [q])
    acc = (q.astype(np.int64) - data[1]) @ codes.astype(np.int64) + bias
    steps = acc * (unit.astype(float) / output[0])
    assert (np.abs(steps % 1) == 0.5).sum() > 3
    np.testing.assert_array_equal(actual, np.clip(np.rint(steps) + output[1], 0, 255))


@pytest.mark.parametrize(
    "between",
    [
        relu_of_what_saturates,  # The zero point is 100: it cuts off what saturation would not.
        lambda emit, b: emit(relax.op.tanh(b), "t"),
        lambda emit, b: emit(relax.op.add(b, b), "s"),
    ],
)
def test_more_between_reads_real_numbers(between):
    assert scale_of(realize(imported(FLOAT32, between), HERE)) == pytest.approx(OUT[0])


def test_a_second_reader_gets_real_numbers():
    assert scale_of(realize(imported(FLOAT32, both=True), HERE)) == pytest.approx(OUT[0])
