"""Padding written by the producer: the numbers stay, the padding kernels go."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import (
    dequantized,
    module,
    quantized,
    relax,
    run_plain,
    uniform,
    weight,
)

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const, main_bindings, op_name
from tvmcomp.schedules.conv.padding import PADDING

HERE = targets.detect()
RNG = np.random.default_rng(0)


def conv(x, kernel, **attrs):
    return relax.op.nn.conv2d(
        x, const(kernel), data_layout="NHWC", kernel_layout="OHWI", out_layout="NHWC", **attrs
    )


def pads(mod):
    """How many tensors of ``mod`` are padded by a kernel of their own, once it is lowered."""
    return len(padded(lower(mod, HERE).mod))


def padded(lowered):
    """The variables that padding kernels read."""
    calls = [b.value for b in main_bindings(lowered) if op_name(b.value) == "call_tir"]
    kernels = [(lowered[call.args[0]], call) for call in calls]
    return {call.args[1].fields[0] for func, call in kernels if func.attrs.get(PADDING)}


def check(mod, *inputs):
    actual, _ = run_here(mod, HERE, inputs)
    for a, e in zip(actual, run_plain(mod, *inputs), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-4)


K1 = uniform(RNG, 8, 1, 1, 5)
K3 = uniform(RNG, 8, 3, 3, 8)
K5 = uniform(RNG, 8, 5, 5, 1)


def chain(emit, x):
    a = emit(conv(x, K1), "a")
    return emit(conv(emit(relax.op.nn.relu(a), "r"), K3, padding=1), "b")


def residual(emit, x):
    a = emit(relax.op.nn.relu(emit(conv(x, K1), "a")), "r")
    b = emit(conv(a, K3, padding=1), "b")
    return emit(relax.op.add(a, b), "sum")


def two_readers_of_different_reach(emit, x):
    a = emit(conv(x, K1), "a")
    near = emit(conv(a, K3, padding=[1, 0, 1, 2], strides=2), "near")
    far = emit(conv(a, K5, padding=[2, 2, 2, 3], strides=2, groups=8), "far")
    return [near, far, emit(relax.op.nn.max_pool2d(a, 2, layout="NHWC"), "pool")]


def joined(emit, x):
    a = emit(conv(x, K1), "a")
    both = emit(relax.op.concat([a, emit(relax.op.negative(a), "n")], 3), "both")
    return emit(conv(both, uniform(RNG, 8, 3, 3, 16), padding=1), "b")


@pytest.mark.parametrize("build", [chain, residual, two_readers_of_different_reach, joined])
@pytest.mark.parametrize("size", [(6, 7), (1, 1), (3, 17)])
def test_the_producer_writes_the_border(build, size):
    mod = module(build, x=(2, *size, 5))
    if size == (1, 1) and build is two_readers_of_different_reach:
        pytest.skip("there is nothing to pool")
    lowered = lower(mod, HERE).mod
    # No kernel produces the network's input, which targets may round up to whole tiles.
    assert padded(lowered) <= set(lowered["main"].params)
    check(mod, uniform(RNG, 2, *size, 5))


def test_what_the_network_returns_is_not_padded():
    def build(emit, x):
        a = emit(conv(x, K1), "a")
        return [a, emit(conv(a, K3, padding=1), "b")]

    mod = module(build, x=(1, 5, 5, 5))
    assert pads(mod) == 1
    check(mod, uniform(RNG, 1, 5, 5, 5))


def test_two_readers_share_one_padding_of_an_input():
    def build(emit, x):
        return [emit(conv(x, K3, padding=1), "a"), emit(conv(x, K3[::-1], padding=1), "b")]

    mod = module(build, x=(1, 5, 5, 8))
    assert pads(mod) == 1
    check(mod, uniform(RNG, 1, 5, 5, 8))


def test_the_border_of_integers_is_the_zero_point():
    integers = RNG.integers(-9, 10, (8, 3, 3, 8)).astype(np.int8)

    def build(emit, x):
        a = emit(dequantized(emit(quantized(x, 0.1, 7), "q"), 0.1, 7), "dq")
        w = emit(weight(integers, np.full(8, 0.05, np.float32), 0), "w")
        for name in "ab":
            a = emit(
                relax.op.nn.conv2d(
                    a, w, padding=1, data_layout="NHWC", kernel_layout="OHWI", out_layout="NHWC"
                ),
                name,
            )
            a = emit(dequantized(emit(quantized(a, 0.1, 100), f"{name}q"), 0.1, 100), f"{name}dq")
        return a

    mod = module(build, x=(1, 5, 6, 8))
    assert pads(mod) <= 1  # of the network's input
    x = uniform(RNG, 1, 5, 6, 8)
    actual, _ = run_here(mod, HERE, [x])
    expected = run_plain(mod, x)
    # The plain module rounds sums of floats: a step apart at most.
    assert np.abs(actual[0] - expected[0]).max() <= 0.1001
