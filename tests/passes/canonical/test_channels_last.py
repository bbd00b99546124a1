"""Channels last: the module after the pass, and the same numbers as before it."""

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
    run_plain,
    script,
    uniform,
    weight,
)
from tvm.script import relax as R

from tvmcomp.passes.canonical.channels_last import channels_last
from tvmcomp.passes.rewriter import const

RNG = np.random.default_rng(0)
W1 = uniform(RNG, 4, 3, 3)
W2 = uniform(RNG, 4, 3, 3, 3)
W2_LAST = W2.transpose(0, 2, 3, 1)


def after(build, *shape):
    """``build`` after a convolution to 4 channels, before and after the pass, numbers compared."""

    def network(emit, x):
        kernel = W1 if len(shape) == 3 else W2
        conv = relax.op.nn.conv1d if len(shape) == 3 else relax.op.nn.conv2d
        return build(emit, emit(conv(x, const(kernel), padding=1), "c"))

    mod = module(network, x=shape)
    changed = channels_last(mod)
    x = uniform(np.random.default_rng(1), *shape)
    for actual, expected in zip(run_plain(changed, x), run_plain(mod, x), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    return changed


def test_conv2d_and_what_follows_stay_channels_last():
    bias = uniform(RNG, 4)

    def build(emit, c):
        biased = emit(relax.op.add(c, const(bias.reshape(1, 4, 1, 1))), "b")
        return emit(relax.op.nn.relu(biased), "r")

    changed = after(build, 1, 3, 6, 5)

    @script
    def expected(x: R.Tensor((1, 3, 6, 5), "float32")):
        with R.dataflow():
            x_t = R.permute_dims(x, [0, 2, 3, 1])
            c = R.nn.conv2d(
                x_t, R.const(W2_LAST), padding=[1, 1, 1, 1], data_layout="NHWC",
                kernel_layout="OHWI",
            )  # fmt: skip
            b = R.add(c, R.const(bias.reshape(1, 1, 1, 4)))
            r = R.nn.relu(b)
            out = R.permute_dims(r, [0, 3, 1, 2])
            R.output(out)
        return out

    assert_same_module(changed, expected)


def test_conv1d():
    changed = after(lambda emit, c: emit(relax.op.nn.relu(c), "r"), 2, 3, 7)
    w_last = W1.transpose(0, 2, 1)

    @script
    def expected(x: R.Tensor((2, 3, 7), "float32")):
        with R.dataflow():
            x_t = R.permute_dims(x, [0, 2, 1])
            c = R.nn.conv1d(
                x_t, R.const(w_last), padding=[1, 1], data_layout="NWC", kernel_layout="OWI"
            )
            r = R.nn.relu(c)
            out = R.permute_dims(r, [0, 2, 1])
            R.output(out)
        return out

    assert_same_module(changed, expected)


def test_a_pointwise_input_of_one_channel_is_reshaped_not_transposed():
    kernel = uniform(RNG, 4, 1, 3, 3)
    mod = module(lambda emit, x: emit(relax.op.nn.conv2d(x, const(kernel)), "c"), x=(1, 1, 5, 5))
    assert operators(channels_last(mod))[0] == "reshape"


PER_CHANNEL = uniform(RNG, 4, 1, 1)
FOLLOWING = {
    "max_pool": lambda emit, c: emit(relax.op.nn.max_pool2d(c, (2, 2), (2, 2)), "y"),
    "avg_pool": lambda emit, c: emit(
        relax.op.nn.avg_pool2d(c, (3, 3), (1, 1), (1, 1, 1, 1), count_include_pad=True), "y"
    ),
    "adaptive_avg_pool": lambda emit, c: emit(relax.op.nn.adaptive_avg_pool2d(c, (1, 1)), "y"),
    "concat of channels": lambda emit, c: emit(
        relax.op.concat([c, emit(relax.op.nn.relu(c), "r")], 1), "y"
    ),
    "concat of rows": lambda emit, c: emit(
        relax.op.concat([c, emit(relax.op.nn.relu(c), "r")], -2), "y"
    ),
    "softmax over channels": lambda emit, c: emit(relax.op.nn.softmax(c, 1), "y"),
    "softmax over a row": lambda emit, c: emit(relax.op.nn.softmax(c, -1), "y"),
    "mean, kept": lambda emit, c: emit(relax.op.mean(c, [2, 3], keepdims=True), "y"),
    "mean": lambda emit, c: emit(relax.op.mean(c, [2, 3]), "y"),
    "max of a row": lambda emit, c: emit(relax.op.max(c, [-1]), "y"),
    "pad": lambda emit, c: emit(relax.op.nn.pad(c, [0, 0, 0, 0, 1, 2, 3, 4], pad_value=5.0), "y"),
    "pad channels": lambda emit, c: emit(relax.op.nn.pad(c, [0, 0, 1, 2, 0, 0, 0, 1]), "y"),
    "slice": lambda emit, c: emit(
        relax.op.strided_slice(c, [1, 2], [1, 0], [3, 4], [1, 2]), "y"
    ),
    "constant of lower rank": lambda emit, c: emit(relax.op.multiply(c, const(PER_CHANNEL)), "y"),
    "constant first": lambda emit, c: emit(relax.op.subtract(const(PER_CHANNEL), c), "y"),
    "scalar": lambda emit, c: emit(relax.op.add(c, relax.const(2.0)), "y"),
    "clip": lambda emit, c: emit(relax.op.clip(c, -0.5, 0.5), "y"),
    "resize": lambda emit, c: emit(
        relax.op.image.resize2d(
            c, (12, 10), layout="NCHW", method="nearest_neighbor",
            coordinate_transformation_mode="asymmetric", rounding_method="floor",
        ), "y",
    ),
    "quantize": lambda emit, c: emit(
        dequantized(emit(quantized(c, 0.02, 128), "q"), 0.02, 128), "y"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLLOWING)
def test_what_follows_a_convolution_needs_no_further_transpose(name):
    emitted = operators(after(FOLLOWING[name], 2, 3, 6, 5))
    # One at the input; one at the output, unless its spatial dimensions are gone.
    assert emitted[0] == "permute_dims"
    assert emitted.count("permute_dims") <= 2
    assert "permute_dims" not in emitted[1:-1]


#: Right as well, but with the transposes that their result needs.
ODD = {
    "mean without the batch": lambda emit, c: emit(relax.op.mean(c, [0]), "y"),
    "mean without batch and rows": lambda emit, c: emit(relax.op.mean(c, [0, 2]), "y"),
    "mean of channels": lambda emit, c: emit(relax.op.mean(c, [1]), "y"),
    "mean of everything": lambda emit, c: emit(relax.op.mean(c), "y"),
    "reshape": lambda emit, c: emit(relax.op.reshape(c, (2, -1)), "y"),
    "matrix product": lambda emit, c: emit(relax.op.matmul(c, const(uniform(RNG, 5, 3))), "y"),
    "split": lambda emit, c: [
        emit(relax.TupleGetItem(s, 1), "y")
        for s in [emit(relax.op.split(c, 2, 1), "s")]
    ],
    "transpose to channels last": lambda emit, c: emit(relax.op.permute_dims(c, [0, 2, 3, 1]), "y"),
    "transpose": lambda emit, c: emit(relax.op.permute_dims(c, [0, 3, 2, 1]), "y"),
    "gather": lambda emit, c: emit(relax.op.take(c, const(np.array([2, 0])), 1), "y"),
    "several outputs": lambda emit, c: [c, emit(relax.op.nn.relu(c), "y"), c],
    "variable of lower rank": lambda emit, c: emit(
        relax.op.add(c, emit(relax.op.mean(c, [0, 1]), "m")), "y"
    ),
    "dense": lambda emit, c: emit(
        relax.op.matmul(emit(relax.op.reshape(c, (2, 120)), "v"), const(np.ones((120, 3), "f4"))),
        "y",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_has_no_rule_gets_the_plain_form(name):
    after(ODD[name], 2, 3, 6, 5)


def test_a_transpose_of_the_model_to_channels_last_vanishes():
    changed = after(ODD["transpose to channels last"], 2, 3, 6, 5)
    assert operators(changed) == ["permute_dims", "nn.conv2d"]


def test_the_scales_of_a_quantized_weight_keep_their_channel():
    values = np.random.default_rng(0).integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    scale = np.array([0.5, 0.25, 0.125, 1], np.float32)

    def build(emit, x):
        q = emit(dequantized(emit(quantized(x, 0.1, 3), "x_q"), 0.1, 3), "x_dq")
        w = emit(weight(values, scale, 0), "w")
        return emit(relax.op.nn.conv2d(q, w), "c")

    mod = module(build, x=(1, 3, 5, 5))
    changed = channels_last(mod)
    # The transposed weight is a constant: nothing is moved at run time but input and output.
    assert operators(changed).count("permute_dims") == 2
    x = uniform(np.random.default_rng(1), 1, 3, 5, 5)
    np.testing.assert_allclose(run_plain(changed, x)[0], run_plain(mod, x)[0], rtol=1e-5, atol=1e-4)


def test_a_weight_that_is_no_constant_is_transposed_at_run_time():
    mod = module(
        lambda emit, x, w: emit(relax.op.nn.conv2d(x, w), "c"), x=(1, 3, 5, 5), w=(4, 3, 3, 3)
    )
    rng = np.random.default_rng(0)
    x, w = uniform(rng, 1, 3, 5, 5), uniform(rng, 4, 3, 3, 3)
    np.testing.assert_allclose(
        run_plain(channels_last(mod), x, w)[0], run_plain(mod, x, w)[0], rtol=1e-5, atol=1e-6
    )


def test_a_network_without_images_is_untouched():
    mod = module(lambda emit, x: emit(relax.op.nn.gelu(x), "y"), x=(2, 5, 7))
    assert_same_module(channels_last(mod), mod)


def test_pixels_in_a_run_stay_channels_last():
    """As where patches become tokens: the source's transpose is none, and nor is ours."""
    scale, shift = uniform(RNG, 4), uniform(RNG, 4)

    def build(emit, c):
        run = emit(relax.op.reshape(c, (2, 4, 30)), "run")
        tokens = emit(relax.op.permute_dims(run, [0, 2, 1]), "tokens")
        normal = emit(relax.op.nn.layer_norm(tokens, const(scale), const(shift), axes=[-1]), "norm")
        return emit(relax.op.add(normal, tokens), "sum")

    assert operators(after(build, 2, 3, 6, 5)) == [
        "permute_dims",  # of the input
        "nn.conv2d",
        "reshape",
        "nn.layer_norm",
        "add",
    ]


def test_tokens_become_an_image_without_a_transpose():
    def build(emit, c):
        run = emit(relax.op.reshape(c, (2, 4, 30)), "run")
        tokens = emit(relax.op.permute_dims(run, [0, 2, 1]), "tokens")
        mixed = emit(relax.op.matmul(tokens, const(uniform(RNG, 4, 4))), "mixed")
        back = emit(relax.op.permute_dims(mixed, [0, 2, 1]), "back")
        image = emit(relax.op.reshape(back, (2, 4, 6, 5)), "image")
        return emit(relax.op.nn.conv2d(image, const(uniform(RNG, 2, 4, 3, 3)), padding=1), "d")

    assert operators(after(build, 2, 3, 6, 5)) == [
        "permute_dims",  # of the input
        "nn.conv2d",
        "reshape",
        "matmul",
        "reshape",
        "nn.conv2d",
        "permute_dims",  # of the output
    ]


def test_tokens_are_transposed_once_and_not_at_every_layer():
    """From an input that has them last: normalizations and residuals are over rows as they lie."""

    def network(emit, x):
        tokens = emit(relax.op.permute_dims(x, [0, 2, 1]), "tokens")
        for i in range(2):
            factors = const(uniform(RNG, 8)), const(uniform(RNG, 8))
            normal = emit(relax.op.nn.layer_norm(tokens, *factors, axes=[-1]), f"norm{i}")
            product = emit(relax.op.matmul(normal, const(uniform(RNG, 8, 8))), f"product{i}")
            tokens = emit(relax.op.add(tokens, product), f"sum{i}")
        return tokens

    mod = module(network, x=(1, 8, 5))
    changed = channels_last(mod)
    assert operators(changed).count("permute_dims") == 1
    x = uniform(RNG, 1, 8, 5)
    for actual, expected in zip(run_plain(changed, x), run_plain(mod, x), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_reshape_that_mixes_channels_and_pixels_is_of_the_plain_form():
    def build(emit, c):
        return emit(relax.op.reshape(c, (2, 2, 60)), "mixed")

    assert operators(after(build, 2, 3, 6, 5))[-2:] == ["permute_dims", "reshape"]
