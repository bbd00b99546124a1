"""Packed anchors, lifted constants, tables, rescaling: what is left of Relax before TIR."""

from __future__ import annotations

import numpy as np
import pytest
from passes.relax_modules import (
    dequantized,
    module,
    operators,
    quantized,
    relax,
    run_plain,
    tensor,
    uniform,
    value_of,
)
from passes.relax_modules import (
    weight as weight_of,
)

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.call_counts import call_counts
from tvmcomp.passes.elementwise import UNARY
from tvmcomp.passes.integers.qdq import has_qdq, quantize_params, unify_activation_dtype
from tvmcomp.passes.integers.rescale import rescale
from tvmcomp.passes.lowering.lift_constants import lift_constants
from tvmcomp.passes.lowering.lower_anchors import lower_anchors
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const, dtype_of, shape_of
from tvmcomp.qparams import QParams, quantize

HERE = targets.detect()
RNG = np.random.default_rng(0)


def check(mod, *inputs, half=None, rtol=1e-4):
    actual, _ = run_here(mod, HERE, inputs, half=half)
    for a, e in zip(actual, run_plain(mod, *inputs), strict=True):
        np.testing.assert_allclose(a, e, rtol=rtol, atol=rtol)


def conv(kernel, **attrs):
    rank = kernel.ndim - 2
    operator = getattr(relax.op.nn, f"conv{rank}d")
    layouts = {1: ("NWC", "OWI"), 2: ("NHWC", "OHWI"), 3: ("NDHWC", "ODHWI")}[rank]
    attrs = dict(data_layout=layouts[0], kernel_layout=layouts[1], **attrs)
    return lambda emit, x: emit(operator(x, const(kernel), **attrs), "c")


#: Name -> (network, input's shape).
ANCHORS = {
    "conv1d": (conv(uniform(RNG, 5, 3, 2), padding=[2, 1], strides=[2]), (2, 9, 2)),
    "conv2d": (
        conv(uniform(RNG, 17, 3, 2, 3), dilation=[1, 2], padding=[1, 0, 2, 1]),
        (2, 6, 7, 3),
    ),
    "conv3d": (conv(uniform(RNG, 4, 2, 2, 2, 3)), (1, 4, 4, 5, 3)),
    "groups": (conv(uniform(RNG, 6, 3, 3, 2), groups=3, padding=1), (1, 5, 5, 6)),
    "depthwise": (conv(uniform(RNG, 6, 3, 3, 1), groups=6, padding=1), (1, 5, 5, 6)),
    "multiplier": (conv(uniform(RNG, 12, 3, 3, 1), groups=6, padding=1), (1, 5, 5, 6)),
    "one channel": (conv(uniform(RNG, 1, 3, 3, 1), padding=1), (1, 5, 5, 1)),
    "matmul": (lambda emit, x: emit(relax.op.matmul(x, const(W2)), "c"), (4, 6)),
    "matmul, rank 3": (lambda emit, x: emit(relax.op.matmul(x, const(W2)), "c"), (2, 4, 6)),
    "matmul, rank 4": (lambda emit, x: emit(relax.op.matmul(x, const(W2)), "c"), (1, 2, 4, 6)),
}
W2 = uniform(RNG, 6, 9)


@pytest.mark.parametrize("name", ANCHORS)
def test_every_anchor_is_packed_and_right(name):
    build, shape = ANCHORS[name]
    mod = module(lambda emit, x: emit(relax.op.nn.relu(build(emit, x)), "r"), x=shape)
    assert operators(lower_anchors(mod, HERE))[-2:] == ["call_tir c", "nn.relu"]
    kernels = [name for name in lower(mod, HERE).tasks if not name.endswith("_pad")]
    assert len(kernels) == 1  # The activation is in the anchor's kernel.
    check(mod, uniform(np.random.default_rng(1), *shape))


@pytest.mark.parametrize(("half", "rtol"), [("float16", 4e-3), ("bfloat16", 3e-2)])
def test_half_precision_weights(half, rtol):
    build, shape = ANCHORS["conv2d"]
    mod = module(build, x=shape)
    check(mod, uniform(np.random.default_rng(1), *shape), half=half, rtol=rtol)
    (packed,) = lower(mod, HERE, half=half).constants
    assert packed.dtype.itemsize == 2


def test_a_weight_beyond_float16_saturates():
    mod = module(conv(np.full((1, 1, 1, 1), 1e6, "f4")), x=(1, 2, 2, 1))
    (out,), _ = run_here(mod, HERE, [np.ones((1, 2, 2, 1), "f4")], half="float16")
    assert (out == np.finfo(np.float16).max).all()


LEFT = {
    "weight at run time": lambda emit, x: emit(relax.op.matmul(x, x), "c"),
    "batched weight": lambda emit, x: emit(relax.op.matmul(x, const(uniform(RNG, 2, 4, 3))), "c"),
    "vector weight": lambda emit, x: emit(relax.op.matmul(x, const(uniform(RNG, 4))), "c"),
    "constant on the left": lambda emit, x: emit(
        relax.op.matmul(const(uniform(RNG, 3, 4)), x), "c"
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_other_matrix_products_are_left_to_tvm(name):
    mod = module(LEFT[name], x=(2, 4, 4))
    assert operators(lower_anchors(mod, HERE)) == ["matmul"]
    check(mod, uniform(np.random.default_rng(1), 2, 4, 4))


@pytest.mark.parametrize(
    ("width", "value", "absorbed"),
    [
        ([0, 0, 1, 2, 0, 1, 0, 0], 0.0, True),
        ([0, 0, 1, 2, 0, 1, 0, 0], 3.0, True),
        ([0, 0, 1, 2, 0, 1, 0, 0], 0.5, False),
        ([0, 0, 1, 2, 0, 1, 0, 0], float("inf"), False),
        ([0, 1, 1, 0, 0, 0, 0, 0], 0.0, False),
        ([0, 0, 1, 0, 0, 0, 1, 1], 0.0, False),
    ],
)
def test_padding_before_a_convolution_becomes_its_own(width, value, absorbed):
    channels = 3 + width[-1] + width[-2]
    kernel = conv(uniform(RNG, 4, 3, 3, channels))

    def build(emit, x):
        return kernel(emit, emit(relax.op.nn.pad(x, width, pad_value=value), "p"))

    mod = module(build, x=(1, 5, 5, 3))
    assert ("nn.pad" not in operators(lower_anchors(mod, HERE))) == absorbed
    if np.isfinite(value):
        check(mod, uniform(np.random.default_rng(1), 1, 5, 5, 3))


def test_an_empty_batch():
    mod = module(conv(uniform(RNG, 4, 3, 3, 3), padding=1), x=(0, 5, 5, 3))
    (out,), _ = run_here(mod, HERE, [np.zeros((0, 5, 5, 3), "f4")])
    assert out.shape == (0, 5, 5, 4)


def test_a_gate_of_squeeze_and_excite():
    """A mean, two 1x1 convolutions, and their result multiplied into the image."""
    squeeze, excite = conv(uniform(RNG, 4, 1, 1, 8)), conv(uniform(RNG, 8, 1, 1, 4))

    def build(emit, x):
        mean = emit(relax.op.mean(x, [1, 2], keepdims=True), "m")
        hidden = emit(relax.op.nn.relu(squeeze(emit, mean)), "h")
        gate = emit(relax.op.sigmoid(excite(emit, hidden)), "g")
        return emit(relax.op.multiply(x, gate), "y")

    check(module(build, x=(2, 5, 6, 8)), uniform(np.random.default_rng(1), 2, 5, 6, 8))


# Constants.


def test_constants_become_parameters_once():
    shared = uniform(RNG, 4)

    def build(emit, x):
        a = emit(relax.op.add(x, const(shared)), "a")
        b = emit(relax.op.multiply(a, const(shared.copy())), "b")
        c = emit(relax.op.concat([b, const(uniform(RNG, 1, 4))], 0), "c")
        return emit(relax.op.add(c, relax.const(2.0)), "d")

    mod = module(build, x=(3, 4))
    lifted, constants = lift_constants(mod)
    params = lifted["main"].params
    assert [p.name for p in params] == ["x", "constant_0", "constant_1"]
    assert [c.shape for c in constants] == [(4,), (1, 4)]
    x = uniform(np.random.default_rng(1), 3, 4)
    np.testing.assert_array_equal(run_plain(lifted, x, *constants)[0], run_plain(mod, x)[0])


def test_equal_bytes_of_another_type_are_another_constant():
    def build(emit, x):
        a = emit(relax.op.add(x, const(np.zeros(4, np.float32))), "a")
        b = emit(
            relax.op.add(emit(relax.op.astype(a, "int32"), "i"), const(np.zeros(4, np.int32))), "b"
        )
        return [a, b]

    _, constants = lift_constants(module(build, x=(4,)))
    assert [c.dtype for c in constants] == [np.float32, np.int32]


def test_calls_are_counted():
    def build(emit, x):
        return emit(relax.op.nn.softmax(emit(relax.op.nn.softmax(x), "a")), "b")

    lowered = lower(module(build, x=(3, 4)), HERE)
    assert call_counts(lowered.mod) == dict.fromkeys(lowered.tasks, 2)
    assert all(type(name) is str for name in lowered.tasks)


# Tables.


@pytest.mark.parametrize("name", sorted(UNARY))
def test_a_table_holds_the_rounded_function(name):
    """Every integer there is, through the operator's own kernel as the reference."""
    scale, zero, out = 0.03125, 100, (0.0625, 60)
    module_name, _, operator = name.rpartition(".")
    function = getattr(getattr(relax.op, module_name) if module_name else relax.op, operator)

    def build(emit, x):
        real = emit(dequantized(x, scale, zero), "real")
        return emit(quantized(emit(function(real), "f"), *out), "q")

    mod = module(build, x=tensor((256,), "uint8"))
    x = np.arange(256).astype(np.uint8)
    lowered = lower(mod, HERE)
    assert len(lowered.tasks) == 1
    (actual,), _ = run_here(mod, HERE, [x])
    real = (np.arange(256) - zero) * scale
    with np.errstate(all="ignore"):
        wanted = np.nan_to_num(UNARY[name](real)).astype(np.float32)
    params = QParams(np.asarray(np.float32(out[0])), np.asarray(np.int32(out[1])), "uint8")
    np.testing.assert_array_equal(actual, quantize(wanted, params))
    with np.errstate(all="ignore"):
        finite = np.isfinite(UNARY[name](real))
    reference = run_plain(mod, x)[0].astype(int)
    assert np.abs(actual.astype(int) - reference)[finite].max() <= 1


# Rescaling.


@pytest.mark.parametrize(
    ("bias", "exact", "dtype"),
    [
        ([100, -32767, 3], False, "int16"),
        ([400_000, -17, 5], False, "int16"),
        ([2**24, 0, 1], False, "int32"),
        ([100, -32767, 3], True, "int16"),
        ([400_000, -17, 5], True, "int32"),
    ],
)
def test_the_bias_takes_two_bytes_where_it_fits(bias, exact, dtype):
    bias, scale = np.array(bias, np.int64), np.float32([0.5, 0.25, 2])

    def build(emit, acc):
        builder = relax.BlockBuilder.current()
        none = np.zeros(3, np.int64)
        return emit(rescale(builder, acc, bias, none, scale, 0.5, "uint8", "r", exact=exact), "r")

    mod = module(build, acc=tensor((4, 3), "int32"))
    arguments = value_of(mod, "gv").args[1]
    assert dtype_of(arguments[1]) == dtype
    assert dtype_of(arguments[2]) == "uint16"  # bfloat16 holds these scales exactly.
    acc = np.random.default_rng(0).integers(-(2**20), 2**20, (4, 3)).astype(np.int32)
    (real,), _ = run_here(mod, HERE, [acc])
    wanted = (acc + bias) * scale.astype(float) * 0.5
    # A 16-bit bias comes in steps of at most 16 units.
    allowed = 0 if exact else 8 * scale * 0.5
    assert (np.abs(real - wanted) <= allowed + np.abs(wanted) * 1e-6).all()


def test_a_scale_that_is_no_bfloat16_keeps_32_bits():
    scale = np.float32([0.1, 0.7])

    def build(emit, acc):
        builder = relax.BlockBuilder.current()
        none = np.zeros(2, np.int64)
        call = rescale(builder, acc, none, none, scale, 0.1, "uint8", "r", exact=False)
        return emit(call, "r")

    mod = module(build, acc=tensor((4, 2), "int32"))
    assert dtype_of(value_of(mod, "gv").args[1][2]) == "float32"
    acc = np.arange(8, dtype=np.int32).reshape(4, 2)
    (real,), _ = run_here(mod, HERE, [acc])
    np.testing.assert_allclose(real, acc * scale * np.float32(0.1), rtol=1e-6)


# Q/DQ.


def test_quantization_is_found_and_read():
    mod = module(
        lambda emit, x: emit(dequantized(emit(quantized(x, 0.5, 3), "q"), 0.5, 3), "y"), x=(4,)
    )
    assert has_qdq(mod)
    assert not has_qdq(module(lambda emit, x: emit(relax.op.nn.relu(x), "y"), x=(4,)))
    params = quantize_params(value_of(mod, "q"))
    assert (float(params.scale), int(params.zero_point), params.dtype) == (0.5, 3, "uint8")


def test_integers_that_something_else_reads_keep_their_type():
    def build(emit, x):
        q = emit(quantized(x, 0.5, 3), "q")
        return [emit(dequantized(q, 0.5, 3), "y"), emit(relax.op.astype(q, "int32"), "i")]

    mod = module(build, x=(4,))
    unified = unify_activation_dtype(mod, "int8")
    assert dtype_of(value_of(unified, "q").args[0]) == "float32"
    x = uniform(np.random.default_rng(0), 4) * 9
    for a, b in zip(run_plain(unified, x), run_plain(mod, x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert shape_of(unified["main"].params[0]) == (4,)


def float_conv_of(weight, scale):
    """A float convolution with its int8 ``weight`` stored beside a scale a channel."""

    def build(emit, x):
        w = emit(weight_of(weight, scale, 0), "w")
        return emit(
            relax.op.nn.conv2d(
                x, w, padding=1, data_layout="NHWC", kernel_layout="OHWI", out_layout="NHWC"
            ),
            "c",
        )

    return build


@pytest.mark.parametrize(
    ("channels", "pixels", "stored"), [(32, 40, "float32"), (256, 40, "int8"), (32, 1, "int8")]
)
def test_a_stored_weight_is_widened_for_winograd_where_a_cache_holds_it(channels, pixels, stored):
    target = targets.load("x86-64-v4")  # 1 MiB of cache a core
    integers = RNG.integers(-127, 128, (channels, 3, 3, channels)).astype(np.int8)
    scale = np.full(channels, 0.01, np.float32)
    mod = module(float_conv_of(integers, scale), x=(1, pixels, pixels, channels))
    weight = max(lower(mod, target).constants, key=lambda constant: constant.size)
    assert weight.dtype == stored
    assert weight.size == integers.size * (4 if stored == "float32" else 1)
    check(mod, uniform(RNG, 1, pixels, pixels, channels), rtol=1e-3)
