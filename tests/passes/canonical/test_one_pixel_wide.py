"""Convolutions of images one pixel wide become those of rows, with what follows them."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import assert_same_module, module, relax, run_plain, script, uniform

from tvmcomp.passes.canonical.one_pixel_wide import one_pixel_wide
from tvmcomp.passes.rewriter import const, main_bindings, op_name, shape_of
from tvmcomp.tvm_import import cheap_stack_inspection

with cheap_stack_inspection():
    from tvm.script import relax as R


@script
def before(x: R.Tensor((1, 20, 6), "float32"), w: R.Tensor((8, 6, 5, 1), "float32")):
    with R.dataflow():
        image = R.expand_dims(x, [2])
        channels_first = R.permute_dims(image, [0, 3, 1, 2])
        conv = R.nn.conv2d(channels_first, w, padding=[2, 0, 2, 0], out_dtype="float32")
        relu = R.nn.relu(conv)
        row = R.squeeze(relu, [3])
        R.output(row)
    return row


@script
def after(x: R.Tensor((1, 20, 6), "float32"), w: R.Tensor((8, 6, 5, 1), "float32")):
    with R.dataflow():
        taps = R.reshape(w, (8, 6, 5))
        channels_first = R.permute_dims(x, [0, 2, 1])
        conv = R.nn.conv1d(channels_first, taps, padding=[2, 2], out_dtype="float32")
        relu = R.nn.relu(conv)
        R.output(relu)
    return relu


def test_as_tensorflow_writes_a_convolution_over_time():
    assert_same_module(one_pixel_wide(before), after)


def residual(emit, x, rng):
    """Strides, a depthwise one, constants for each channel; an image is asked for at the end."""
    y = conv(emit, rng, x, 6, 5, strides=(2, 1), padding=(2, 0))
    y = emit(relax.op.add(y, const(uniform(rng, 6, 1, 1))), "biased")
    z = conv(emit, rng, y, 6, 3, padding=(2, 0), dilation=(2, 1), groups=6)
    z = emit(relax.op.multiply(emit(relax.op.add(y, z), "sum"), const(np.float32([2]))), "twice")
    return [z, emit(relax.op.nn.max_pool2d(z, (2, 1), (2, 1)), "pool")]


def stays(emit, x, rng):
    """Its window reaches beyond the one pixel."""
    return conv(emit, rng, x, 4, (3, 3), padding=(1, 1))


def widened(emit, x, rng):
    """What is broadcast over a line, a constant's or a computed one, makes an image of a row."""
    y = conv(emit, rng, x, 6, 5, padding=(2, 0))
    wide = emit(relax.op.add(y, const(uniform(rng, 5))), "wide")
    return [wide, emit(relax.op.multiply(emit(relax.op.exp(wide), "exp"), y), "both")]


def conv(emit, rng, x, channels, taps, **attrs):
    size = taps if isinstance(taps, tuple) else (taps, 1)
    kernel = uniform(rng, channels, 6 // attrs.get("groups", 1), *size)
    return emit(relax.op.nn.conv2d(x, const(kernel), **attrs), "conv")


def products(emit, x, rng):
    """A product for each of several lines of one row, and what follows; the data is read twice."""
    y = emit(relax.op.matmul(x, const(uniform(rng, 7, 5))), "product")
    y = emit(relax.op.add(y, const(uniform(rng, 5))), "biased")
    y = emit(relax.op.multiply(y, const(uniform(rng, 6, 1, 5))), "scaled")
    z = emit(relax.op.matmul(emit(relax.op.tanh(y), "tanh"), const(uniform(rng, 5, 7))), "second")
    return [emit(relax.op.add(z, x), "residual"), emit(relax.op.exp(x), "exp"), y]


def swapped(emit, x, rng):
    """The lines come from a transposition, and go into one; what is broadcast makes rows."""
    turned = emit(relax.op.permute_dims(x, [0, 3, 2, 1]), "turned")
    y = emit(relax.op.matmul(turned, const(uniform(rng, 6, 4))), "product")
    wide = emit(relax.op.add(y, const(uniform(rng, 3, 1))), "wide")
    return [wide, emit(relax.op.permute_dims(y, [0, 2, 1, 3]), "back")]


def one_row(emit, x, rng):
    """A row alone stays; so does a product of two activations."""
    one = emit(relax.op.reshape(x, [2, 1, 1, 42]), "one")
    y = emit(relax.op.matmul(one, const(uniform(rng, 42, 3))), "product")
    square = emit(relax.op.matmul(x, emit(relax.op.permute_dims(x, [0, 1, 3, 2]), "t")), "square")
    return [y, square]


@pytest.mark.parametrize(("build", "flat"), [(products, 2), (swapped, 1), (one_row, 0)])
def test_products_of_one_row_are_of_many(build, flat):
    mod = module(lambda emit, x: build(emit, x, np.random.default_rng(0)), x=(2, 6, 1, 7))
    new = one_pixel_wide(mod)
    assert sum(len(shape_of(b.var)) == 3 for b in main_bindings(new)
               if op_name(b.value) == "matmul") == flat  # fmt: skip
    x = uniform(np.random.default_rng(1), 2, 6, 1, 7)
    for a, e in zip(run_plain(new, x), run_plain(mod, x), strict=True):
        assert a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("build", "rows"), [(residual, 2), (stays, 0), (widened, 1)])
def test_numbers_stay(build, rows):
    mod = module(lambda emit, x: build(emit, x, np.random.default_rng(0)), x=(2, 6, 15, 1))
    new = one_pixel_wide(mod)
    assert sum(op_name(b.value) == "nn.conv1d" for b in main_bindings(new)) == rows
    x = uniform(np.random.default_rng(1), 2, 6, 15, 1)
    for a, e in zip(run_plain(new, x), run_plain(mod, x), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)
