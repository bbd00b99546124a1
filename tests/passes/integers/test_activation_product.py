"""Products of two quantized activations: the operators after the pass, and exact integers."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import (
    assert_same_module,
    dequantized,
    module,
    operators,
    quantized,
    relax,
    script,
    uniform,
    value_of,
)
from tvm.script import relax as R

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.integers import activation_product
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const, const_value
from tvmcomp.quantize.imported import imported_operators

HERE = targets.detect()
VNNI = targets.load("cascadelake")
AVX2 = targets.load("x86-64-v3")
ARM = targets.load("rpi5")


def number(value, dtype="float32"):
    return np.asarray(value, dtype)


def test_the_module_of_a_product_of_weights_and_values():
    """Weights from 0 to 1 have a zero point of 0 where activations are unsigned: no sum of the
    values is computed."""
    s_w, s_v, s_y = number(1 / 256), number(0.5), number(0.25)
    zero, z_v, z_y = number(0, "int32"), number(130, "int32"), number(7, "int32")

    @script
    def before(w: R.Tensor((2, 5, 9), "float32"), v: R.Tensor((2, 9, 16), "float32")):
        with R.dataflow():
            w_q = R.quantize(w, R.const(s_w), R.const(zero), axis=-1, out_dtype="uint8")
            w_real = R.dequantize(w_q, R.const(s_w), R.const(zero), axis=-1)
            v_q = R.quantize(v, R.const(s_v), R.const(z_v), axis=-1, out_dtype="uint8")
            v_real = R.dequantize(v_q, R.const(s_v), R.const(z_v), axis=-1)
            m = R.matmul(w_real, v_real)
            y = R.quantize(m, R.const(s_y), R.const(z_y), axis=-1, out_dtype="uint8")
            R.output(y)
        return y

    step, none, one = number(1 / 128), number(0, "int32"), number(1)
    bit, two = number(128, "uint8"), number(2, "int32")

    @script
    def after(w: R.Tensor((2, 5, 9), "float32"), v: R.Tensor((2, 9, 16), "float32")):
        with R.dataflow():
            w_q = R.quantize(w, R.const(s_w), R.const(zero), axis=-1, out_dtype="uint8")
            v_q = R.quantize(v, R.const(s_v), R.const(z_v), axis=-1, out_dtype="uint8")
            flipped = R.bitwise_xor(v_q, R.const(bit))
            signed = R.astype(flipped, "int8")
            m = R.matmul(w_q, signed, out_dtype="int32")
            wide = R.astype(w_q, "int32")
            sums = R.sum(wide, axis=[-1], keepdims=True)
            share = R.multiply(sums, R.const(two))
            total = R.subtract(m, share)
            real = R.dequantize(total, R.const(step), R.const(none), axis=-1)
            y = R.quantize(real, R.const(one), R.const(z_y), axis=-1, out_dtype="uint8")
            R.output(y)
        return y

    assert_same_module(realize(before, VNNI), after)


@pytest.fixture(params=["integers", "float32"])
def way(request, monkeypatch):
    """How this machine multiplies, whatever is faster on it."""
    reason = None if request.param == "integers" else "asked for"
    monkeypatch.setattr(activation_product, "float_reason", lambda *_: reason)
    return request.param


def product(left, right, given, output, dtype="int8", wanted=None):
    """A module of the product of two arrays' shapes, in the parameters ``given`` of both."""

    def build(emit, a, b):
        sides = [
            emit(dequantized(emit(quantized(x, *params, dtype), f"{n}_q"), *params), f"{n}_dq")
            for n, x, params in zip("ab", (a, b), given, strict=True)
        ]
        m = emit(relax.op.matmul(*sides), "m")
        if wanted is not None:
            m = wanted(emit, m)
        return emit(quantized(m, *output, dtype), "y")

    return module(build, a=left, b=right)


def expected(arrays, given, output, limits=(-128, 127)):
    """The result in steps, before it is rounded, and its integers."""
    whole = []
    for x, (scale, zero) in zip(arrays, given, strict=True):
        whole.append(np.clip(np.rint(x / np.float32(scale)) + zero, *limits) - zero)
    steps = (whole[0] @ whole[1]) * given[0][0] * given[1][0] / output[0]
    return steps, np.clip(np.rint(steps) + output[1], *limits)


def shapes_of(rng):
    """Shapes of two sides, batches that broadcast among them."""
    rows, depth, columns = (int(n) for n in rng.integers(1, 40, 3))
    batch = tuple(int(n) for n in rng.integers(1, 4, rng.integers(0, 3)))
    spread = tuple(int(n) for n in np.where(rng.random(len(batch)) < 0.3, 1, batch))
    left, right = (batch, spread) if rng.random() < 0.5 else (spread, batch)
    return (*left, rows, depth), (*right, depth, columns)


@pytest.mark.parametrize("seed", range(12))
def test_any_product_is_exact(seed, way):
    rng = np.random.default_rng(seed)
    left, right = shapes_of(rng)
    zeros = [int(rng.choice([-128, 0, 127, rng.integers(-128, 128)])) for _ in range(3)]
    given = [(float(rng.uniform(0.01, 0.1)), zero) for zero in zeros[:2]]
    output = (float(given[0][0] * given[1][0] * rng.uniform(20, 400)), zeros[2])
    arrays = [
        ((rng.integers(-128, 128, s) - zero) * scale).astype(np.float32)
        for s, (scale, zero) in zip((left, right), given, strict=True)
    ]
    mod = product(left, right, given, output)
    (actual, *_), _ = run_here(mod, HERE, arrays)
    steps, wanted = expected(arrays, given, output)
    tie = np.abs(np.abs(steps - np.floor(steps)) - 0.5) < 1e-4
    np.testing.assert_array_equal(actual[~tie], wanted[~tie])
    assert np.abs(actual - wanted).max(initial=0) <= 1


def test_the_largest_numbers_do_not_saturate_on_the_way(way):
    """Pairs of the largest products do not fit in 16 bits, where some instructions add them up."""
    given, output = [(1.0, -128), (1.0, -128)], (70000.0, -128)
    arrays = [np.full(shape, 255, np.float32) for shape in ((6, 64), (64, 16))]
    (actual, *_), _ = run_here(product((6, 64), (64, 16), given, output), HERE, arrays)
    assert np.unique(actual).tolist() == [expected(arrays, given, output)[1][0, 0]]


def test_a_constant_with_a_batch_is_multiplied_in_integers(way):
    rng = np.random.default_rng(0)
    values = rng.integers(-128, 128, (3, 10, 16)).astype(np.int8)
    given, output = [(0.05, 3), (0.02, 0)], (0.3, 4)

    def build(emit, a):
        x = emit(dequantized(emit(quantized(a, *given[0], "int8"), "q"), *given[0]), "dq")
        w = emit(dequantized(const(values), *given[1]), "w")
        return emit(quantized(emit(relax.op.matmul(x, w), "m"), *output, "int8"), "y")

    mod = module(build, a=(3, 5, 10))
    x = uniform(rng, 3, 5, 10) * 6
    assert "sum" not in operators(realize(mod, VNNI))  # The constant's are constants.
    (actual, *_), _ = run_here(mod, HERE, [x])
    _, wanted = expected([x, values * np.float32(0.02)], given, output)
    assert np.abs(actual - wanted).max() <= 1
    assert (actual != wanted).mean() < 0.02


def test_what_else_reads_a_product_gets_real_numbers(way):
    """Only a result that nothing but its quantization reads is counted in steps."""

    def both(emit, m):
        return emit(relax.op.add(m, emit(relax.op.nn.relu(m), "r")), "s")

    given, output = [(0.05, 3), (0.02, 9)], (0.3, 4)
    rng = np.random.default_rng(1)
    arrays = [uniform(rng, 5, 9) * 6, uniform(rng, 9, 8) * 3]
    mod = product((5, 9), (9, 8), given, output, wanted=both)
    (actual, *_), _ = run_here(mod, HERE, arrays)
    steps, _ = expected(arrays, given, output)
    wanted = np.clip(np.rint(steps + np.maximum(steps, 0)) + 4, -128, 127)
    assert np.abs(actual - wanted).max() <= 1
    assert (actual != wanted).mean() < 0.02


@pytest.mark.parametrize(
    "left, right, target",
    [
        ((9,), (9, 16), VNNI), ((4, 9), (9,), VNNI), ((2, 40000), (40000, 16), VNNI),
        ((4, 9), (9, 15), VNNI), ((4, 9), (9, 16), AVX2),
    ],
)  # fmt: skip
def test_what_is_not_faster_in_integers_multiplies_whole_numbers_in_float32(left, right, target):
    mod = realize(product(left, right, [(0.05, 3), (0.02, 9)], (0.3, 4)), target)
    assert float(const_value(value_of(mod, "m_left").args[1])) == 1
    assert operators(mod).count("dequantize") == 2
    (operator,) = [
        each
        for each in imported_operators(product(left, right, [(0.05, 3)] * 2, (0.3, 4)), target)
        if each.kind == "matmul"
    ]
    assert operator.dtype == "float32"
    assert operator.reason == activation_product.float_reason(left, right, target)


def test_arm_multiplies_signed_by_signed():
    mod = product((4, 9), (9, 4), [(0.05, 3), (0.02, 0)], (0.3, 4))
    assert operators(realize(mod, ARM)) == [
        "quantize", "quantize", "matmul", "astype", "sum", "multiply", "subtract", "dequantize",
        "quantize",
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["rpi5", "graviton3", "cascadelake", "sapphirerapids"])
@pytest.mark.parametrize("left, right", [((1, 4), (1, 4)), ((3, 1), (3, 4)), ((3, 4), (1, 4))])
def test_batches_of_one_and_broadcast_ones_have_a_schedule(target, left, right):
    """A kernel that stages its data in registers reads it along fewer axes than the result's."""
    given = [(0.05, 3), (0.02, 9)]
    mod = product((*left, 28, 28), (*right, 28, 16), given, (0.3, 4))
    described = targets.load(target)
    anchors = [
        func
        for func in lower(mod, described).tasks.values()
        if 'tvmcomp.anchor": "' in func.script() and '"batched_matmul"' not in func.script()
    ]
    assert anchors
