"""Scales and shifts folded into the anchor before them: which, and with the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import (
    assert_same_module,
    module,
    operators,
    relax,
    run_plain,
    script,
    uniform,
)
from tvm.script import relax as R

from tvmcomp.passes.canonical.fold_scale import fold_scale
from tvmcomp.passes.rewriter import const

RNG = np.random.default_rng(0)
W = uniform(RNG, 4, 3, 3, 2)
S, B = uniform(RNG, 4) + 2, uniform(RNG, 1, 1, 1, 4)


def conv(emit, x):
    return emit(relax.op.nn.conv2d(x, const(W), data_layout="NHWC", kernel_layout="OHWI"), "c")


def test_batch_normalization_becomes_weight_and_bias():
    def build(emit, x):
        shifted = emit(relax.op.add(conv(emit, x), const(B)), "b")
        scaled = emit(relax.op.multiply(shifted, const(S)), "s")
        return emit(relax.op.subtract(scaled, relax.const(1.0)), "y")

    w, b = W * S.reshape(4, 1, 1, 1), B * S - 1

    @script
    def expected(x: R.Tensor((1, 6, 5, 2), "float32")):
        with R.dataflow():
            c = R.nn.conv2d(x, R.const(w), data_layout="NHWC", kernel_layout="OHWI")
            c_bias = R.add(c, R.const(b))
            R.output(c_bias)
        return c_bias

    assert_same_module(fold_scale(module(build, x=(1, 6, 5, 2))), expected)


M, VECTOR = uniform(RNG, 2, 4), uniform(RNG, 5)
#: Name -> (network, input's shape, its operators after the pass).
CASES = {
    "divide": (
        lambda emit, x: emit(relax.op.divide(conv(emit, x), const(S)), "y"),
        (1, 6, 5, 2),
        ["nn.conv2d"],
    ),
    "matrix product": (
        lambda emit, x: emit(
            relax.op.add(
                emit(relax.op.multiply(const(S), emit(relax.op.matmul(x, const(M)), "c")), "s"),
                const(S),
            ), "y",
        ),
        (3, 2),
        ["matmul", "add"],
    ),
    "divide by zero": (
        lambda emit, x: emit(relax.op.divide(conv(emit, x), const(np.float32([1, 0, 1, 1]))), "y"),
        (1, 6, 5, 2),
        ["nn.conv2d", "divide"],
    ),
    "a reader besides": (
        lambda emit, x: [
            c := conv(emit, x),
            emit(relax.op.multiply(c, const(S)), "y"),
        ],
        (1, 6, 5, 2),
        ["nn.conv2d", "multiply"],
    ),
    "one value a row": (
        lambda emit, x: emit(
            relax.op.multiply(conv(emit, x), const(np.float32([2, 3, 4]).reshape(3, 1))), "y"
        ),
        (1, 6, 5, 2),
        ["nn.conv2d", "multiply"],
    ),
    "the constant on the left of a subtraction": (
        lambda emit, x: emit(relax.op.subtract(const(S), conv(emit, x)), "y"),
        (1, 6, 5, 2),
        ["nn.conv2d", "subtract"],
    ),
    "a constant of more dimensions": (
        lambda emit, x: emit(
            relax.op.multiply(conv(emit, x), const(S.reshape(1, 1, 1, 1, 4))), "y"
        ),
        (1, 6, 5, 2),
        ["nn.conv2d", "multiply"],
    ),
    "a matrix times a vector": (
        lambda emit, x: emit(
            relax.op.multiply(emit(relax.op.matmul(x, const(VECTOR)), "c"), const(VECTOR)), "y"
        ),
        (5, 5),
        ["matmul", "multiply"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_folded(name):
    build, shape, expected = CASES[name]
    mod = module(build, x=shape)
    folded = fold_scale(mod)
    assert operators(folded) == expected
    x = uniform(np.random.default_rng(1), *shape)
    for actual, wanted in zip(run_plain(folded, x), run_plain(mod, x), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-5)
