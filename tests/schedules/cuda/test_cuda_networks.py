"""Whole networks lowered for a GPU and run on the CPU: int8 is equal to the x86 build."""

from __future__ import annotations

from typing import Any

import numpy as np
from network_on_cpu import run_network
from passes.relax_modules import dequantized, module, quantized, relax, run_plain, uniform, weight

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.pipeline import lower

op = relax.op
NHWC = {"data_layout": "NHWC", "kernel_layout": "OHWI"}


def classifier(emit: Any, x: Any) -> Any:
    """Convolutions of three kinds, a residual, an average, a matrix: in Q/DQ."""
    rng = np.random.default_rng(0)
    count = iter(range(100))

    def named(expr: Any) -> Any:
        return emit(expr, f"v{next(count)}")

    def steps(expr: Any, scale: float, zero_point: int) -> Any:
        narrow = named(quantized(expr, scale, zero_point))
        return named(dequantized(narrow, scale, zero_point))

    def conv(data: Any, out: int, kernel: int, groups: int, channels: int, **how: Any) -> Any:
        shape = (out, kernel, kernel, channels // groups)
        values = rng.integers(-127, 128, shape).astype(np.int8)
        scale = rng.uniform(0.001, 0.01, out).astype(np.float32)
        real = named(weight(values, scale, 0))
        return named(op.nn.conv2d(data, real, groups=groups, **NHWC, **how))

    data = steps(x, 0.02, 100)
    first = conv(data, 16, 3, 1, 3, strides=(2, 2), padding=(1, 1, 1, 1))
    one = steps(named(op.nn.relu(first)), 0.01, 0)
    two = steps(conv(one, 16, 3, 16, 16, padding=(1, 1, 1, 1)), 0.02, 120)
    three = steps(conv(two, 16, 1, 1, 16), 0.02, 130)
    added = steps(named(op.add(three, one)), 0.03, 90)
    mean = steps(named(op.mean(added, [1, 2])), 0.02, 128)
    values = rng.integers(-127, 128, (16, 10)).astype(np.int8)
    real = named(weight(values, np.full(10, 0.01, np.float32), 1))
    return named(op.matmul(mean, real))


def test_integers_are_those_of_the_x86_build() -> None:
    mod = module(classifier, x=(1, 8, 8, 3))
    data = uniform(np.random.default_rng(1), 1, 8, 8, 3)
    (found,) = run_network(lower(mod, targets.load("jetson-orin")), [data])
    (expected,), _ = run_here(mod, targets.detect(), [data])
    np.testing.assert_array_equal(found, expected)
    assert np.unique(found).size > 5


def attention(emit: Any, q: Any, k: Any, v: Any) -> Any:
    def heads(x: Any, axes: tuple[int, ...], name: str) -> Any:
        split = emit(op.reshape(x, (1, 20, 2, 16)), f"{name}_split")
        return emit(op.permute_dims(split, axes), f"{name}_heads")

    scores = emit(op.matmul(heads(q, (0, 2, 1, 3), "q"), heads(k, (0, 2, 3, 1), "k")), "scores")
    weights = emit(op.nn.softmax(scores, axis=-1), "weights")
    mean = emit(op.matmul(weights, heads(v, (0, 2, 1, 3), "v")), "mean")
    moved = emit(op.permute_dims(mean, (0, 2, 1, 3)), "moved")
    return emit(op.reshape(moved, (1, 20, 32)), "joined")


def test_attention_in_half_precision() -> None:
    mod = module(attention, q=(1, 20, 32), k=(1, 20, 32), v=(1, 20, 32))
    rng = np.random.default_rng(0)
    arrays = [uniform(rng, 1, 20, 32) for _ in range(3)]
    lowered = lower(mod, targets.load("h100"), half="float16")
    (found,) = run_network(lowered, arrays)
    (expected,) = run_plain(mod, *arrays)
    np.testing.assert_allclose(found, expected, atol=2e-3)
