"""Taps that only see padding: what stays, and that it computes the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes.relax_modules import module, relax, run_plain, uniform

from tvmcomp.passes.canonical.reached_taps import reached_taps
from tvmcomp.passes.rewriter import const, const_value, main_bindings, op_name

RNG = np.random.default_rng(0)


def convolution(shape, weight, **attrs):
    operator = getattr(relax.op.nn, f"conv{len(shape) - 2}d")
    return module(lambda emit, x: emit(operator(x, const(weight), **attrs), "y"), x=tuple(shape))


def kept(mod):
    """The window of the convolution of ``mod``."""
    (call,) = [b.value for b in main_bindings(mod) if str(op_name(b.value)).startswith("nn.conv")]
    return const_value(call.args[1]).shape[2:]


@pytest.mark.parametrize(
    ("size", "kernel", "attrs", "window"),
    [
        ((14, 14), (3, 3), {"dilation": 18, "padding": 18}, (1, 1)),  # DeepLab's
        ((7, 56), (5, 4), {"dilation": 4, "padding": [8, 6, 8, 6]}, (3, 4)),
        ((1, 1), (3, 3), {"padding": 1}, (1, 1)),  # a detector's last pixel
        ((2, 2), (3, 3), {"padding": 1, "strides": 2}, (2, 2)),
        ((2, 2), (3, 3), {"padding": 1}, (3, 3)),
        ((1, 5), (3, 3), {"padding": [0, 1, 2, 1]}, (1, 3)),
        ((4,), (9,), {"padding": 8}, (9,)),
        ((3, 2, 2), (3, 3, 3), {"dilation": 3, "padding": 3}, (1, 1, 1)),
    ],
)
def test_the_window_that_is_left(size, kernel, attrs, window):
    weight = uniform(RNG, 4, 3, *kernel)
    before = convolution((1, 3, *size), weight, **attrs)
    after = reached_taps(before)
    assert kept(after) == window
    x = uniform(RNG, 1, 3, *size)
    np.testing.assert_allclose(run_plain(after, x)[0], run_plain(before, x)[0], atol=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_any_window_computes_the_same(data):
    draw = lambda *values: data.draw(st.sampled_from(values))  # noqa: E731
    rank = draw(1, 2)
    size, kernel = ([draw(1, 2, 3, 5) for _ in range(rank)] for _ in range(2))
    dilation = [draw(1, 2, 4) for _ in range(rank)]
    padding = [draw(0, 1, 3, 6) for _ in range(2 * rank)]
    for axis in range(rank):  # so that the window fits somewhere
        lacks = dilation[axis] * (kernel[axis] - 1) + 1 - size[axis]
        padding[axis] += max(0, lacks - padding[axis] - padding[rank + axis])
    groups = draw(1, 2)
    weight = uniform(RNG, 4, 4 // groups, *kernel)
    attrs = {"dilation": dilation, "padding": padding, "strides": draw(1, 2, 3), "groups": groups}
    before = convolution((2, 4, *size), weight, **attrs)
    x = uniform(RNG, 2, 4, *size)
    expected = run_plain(before, x)[0]
    np.testing.assert_allclose(run_plain(reached_taps(before), x)[0], expected, atol=1e-5)


def test_an_endless_weight_stays():
    weight = uniform(RNG, 4, 3, 3, 3)
    weight[0, 0, 0, 0] = np.inf
    assert kept(reached_taps(convolution((1, 3, 1, 1), weight, padding=1))) == (3, 3)
