"""Written-out normalizations: recognized in every spelling, and left alone where they differ."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import module, operators, relax, run_plain, uniform

from tvmcomp.passes.canonical.channels_last import channels_last
from tvmcomp.passes.canonical.fuse_normalization import fuse_normalization
from tvmcomp.passes.rewriter import const

RNG = np.random.default_rng(0)
op = relax.op


def number(value):
    return const(np.float32(value))


SQUARES = {
    "multiply": lambda emit, d: op.multiply(d, d),
    "power": lambda emit, d: op.power(d, number(2)),
    "square": lambda emit, d: op.square(d),
}
QUOTIENTS = {
    "divide by the root": lambda emit, d, v: op.divide(d, emit(op.sqrt(v), "root")),
    "rsqrt": lambda emit, d, v: op.multiply(d, emit(op.rsqrt(v), "root")),
    "rsqrt first": lambda emit, d, v: op.multiply(emit(op.rsqrt(v), "root"), d),
    "reciprocal": lambda emit, d, v: op.multiply(
        d, emit(op.divide(number(1), emit(op.sqrt(v), "root")), "r")
    ),
}


def normalized(emit, x, axes, square=SQUARES["multiply"], quotient=QUOTIENTS["rsqrt"]):
    difference = emit(op.subtract(x, emit(op.mean(x, axes, True), "m")), "d")
    variance = emit(op.mean(emit(square(emit, difference), "sq"), axes, True), "v")
    stabilized = emit(op.add(variance, number(1e-5)), "e")
    return emit(quotient(emit, difference, stabilized), "n")


def check(mod, *shape):
    changed = fuse_normalization(mod)
    x = uniform(np.random.default_rng(1), *shape)
    np.testing.assert_allclose(run_plain(changed, x)[0], run_plain(mod, x)[0], rtol=1e-4, atol=1e-5)
    return changed


@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("quotient", QUOTIENTS)
def test_every_spelling(square, quotient):
    gamma, beta = uniform(RNG, 6), uniform(RNG, 6)

    def build(emit, x):
        normal = normalized(emit, x, [-1], SQUARES[square], QUOTIENTS[quotient])
        scaled = emit(op.multiply(normal, const(gamma)), "s")
        return emit(op.add(const(beta), scaled), "y")

    changed = check(module(build, x=(2, 5, 6)), 2, 5, 6)
    assert operators(changed) == ["nn.layer_norm"]


def test_the_difference_computed_twice():
    def build(emit, x):
        mean = emit(op.mean(x, [-1], True), "m")
        first, second = (emit(op.subtract(x, mean), name) for name in "ab")
        variance = emit(op.mean(emit(op.multiply(first, first), "sq"), [-1], True), "v")
        root = emit(op.sqrt(emit(op.add(variance, number(1e-5)), "e")), "root")
        return emit(op.divide(second, root), "n")

    assert operators(check(module(build, x=(4, 9)), 4, 9)) == ["nn.layer_norm"]


@pytest.mark.parametrize(
    ("shape", "axes", "factor"),
    [((2, 5, 5), [-1], (5, 1)), ((2, 5, 5), [-1], (1, 5, 1)), ((2, 5, 5, 1), [2, 3], (5, 1, 1)),
     ((2, 5, 5), [-1], (1, 1, 1, 5)), ((5, 1, 5), [-1], (5, 1, 1))],
)  # fmt: skip
def test_a_factor_along_another_axis_of_the_same_size(shape, axes, factor):
    gamma, beta = uniform(RNG, *factor), uniform(RNG, *factor)

    def build(emit, x):
        scaled = emit(op.multiply(normalized(emit, x, axes), const(gamma)), "s")
        return emit(op.add(scaled, const(beta)), "y")

    changed = check(module(build, x=shape), *shape)
    assert operators(changed) == ["nn.layer_norm", "multiply", "add"]


def test_instance_normalization_keeps_its_scale_apart():
    gamma = uniform(RNG, 1, 3, 1, 1)

    def build(emit, x):
        return emit(op.multiply(normalized(emit, x, [2, 3]), const(gamma)), "y")

    assert operators(check(module(build, x=(1, 3, 5, 4)), 1, 3, 5, 4)) == [
        "nn.layer_norm",
        "multiply",
    ]


def test_group_normalization():
    gamma = uniform(RNG, 1, 6, 1, 1)

    def build(emit, x):
        view = emit(op.reshape(x, [2, 3, 40]), "view")
        normal = normalized(emit, view, [2])
        ones = emit(op.multiply(normal, const(np.ones((1, 3, 1), np.float32))), "ones")
        zeros = emit(op.add(ones, const(np.zeros((1, 3, 1), np.float32))), "zeros")
        return emit(op.multiply(emit(op.reshape(zeros, [2, 6, 5, 4]), "back"), const(gamma)), "y")

    changed = check(module(build, x=(2, 6, 5, 4)), 2, 6, 5, 4)
    assert operators(changed) == ["nn.group_norm", "multiply"]


@pytest.mark.parametrize("kind", ["instance", "group"])
def test_in_a_convolutional_network_it_is_channels_last(kind):
    kernel = uniform(RNG, 6, 2, 3, 3)

    def build(emit, x):
        conv = emit(op.nn.conv2d(x, const(kernel), padding=1), "c")
        if kind == "instance":
            return emit(op.nn.relu(normalized(emit, conv, [2, 3])), "y")
        view = emit(op.reshape(conv, [1, 3, 40]), "view")
        return emit(
            op.nn.relu(emit(op.reshape(normalized(emit, view, [2]), [1, 6, 5, 4]), "b")), "y"
        )

    mod = module(build, x=(1, 2, 5, 4))
    changed = channels_last(fuse_normalization(mod))
    assert operators(changed).count("permute_dims") == 2  # of the input and of the output
    x = uniform(np.random.default_rng(1), 1, 2, 5, 4)
    np.testing.assert_allclose(run_plain(changed, x)[0], run_plain(mod, x)[0], rtol=1e-4, atol=1e-5)


def test_other_axes_are_no_normalization():
    def build(emit, x):
        difference = emit(op.subtract(x, emit(op.mean(x, [-1], True), "m")), "d")
        variance = emit(op.mean(emit(op.square(difference), "sq"), [0], True), "v")
        return emit(
            op.multiply(difference, emit(op.rsqrt(emit(op.add(variance, number(1e-5)), "e")), "r")),
            "y",
        )

    mod = module(build, x=(4, 9))
    assert operators(fuse_normalization(mod)) == operators(mod)


def test_a_result_that_is_read_before_its_scale_keeps_it_apart():
    gamma = uniform(RNG, 9)

    def build(emit, x):
        normal = normalized(emit, x, [-1])
        return [emit(op.multiply(normal, const(gamma)), "y"), emit(op.exp(normal), "z")]

    kinds = operators(fuse_normalization(module(build, x=(4, 9))))
    assert sorted(kinds) == ["exp", "multiply", "nn.layer_norm"]
