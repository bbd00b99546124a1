"""From Q/DQ to integers: the operators after the pass, and the integers against numpy.

The float module with Q/DQ in it, run by TVM's own legalization, is the reference too: the integer
module may differ from it by one step where float32 and int32 sums round differently.
"""

from __future__ import annotations

import msgspec
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
    tensor,
    uniform,
    value_of,
    weight,
)
from tvm.script import relax as R

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.integers.realize import realize
from tvmcomp.passes.rewriter import const, const_value, dtype_of

HERE = targets.detect()
X86 = targets.load("x86-64-v3")
ARM = targets.load("rpi3")
RNG = np.random.default_rng(0)
IN, OUT = (0.05, 7), (0.11, 100)
W = RNG.integers(-127, 128, (5, 3, 3, 2)).astype(np.int8)
WS = np.float32([0.5, 0.25, 0.125, 1, 0.0625])
BIAS = uniform(RNG, 1, 1, 1, 5) * 20


def integer_input(emit, x, name="x"):
    """``x`` rounded to the input's 8-bit grid."""
    return emit(dequantized(emit(quantized(x, *IN), f"{name}_q"), *IN), f"{name}_dq")


def conv(emit, x, **attrs):
    return emit(
        relax.op.nn.conv2d(
            x, emit(weight(W, WS, 0), "w"), data_layout="NHWC", kernel_layout="OHWI", **attrs
        ),
        "c",
    )


def through_output(emit, y):
    """``y`` as the integers of the output, and what they stand for."""
    q = emit(quantized(y, *OUT), "y_q")
    return [q, emit(dequantized(q, *OUT), "y_dq")]


def integers_after(build, *shape):
    """Realize ``build`` for this machine; compare it with the float module within a step.

    Returns:
        The operators after the pass.
    """
    mod = module(build, x=shape)
    x = uniform(np.random.default_rng(1), *shape) * 6
    realized = realize(mod, HERE)
    (actual, *_), _ = run_here(mod, HERE, [x])
    reference = run_plain(mod, x)[0]
    steps = np.abs(actual.astype(int) - reference.astype(int))
    assert actual.dtype == np.uint8
    assert steps.max() <= 1
    assert (steps > 0).mean() < 0.02
    assert len(np.unique(reference)) > 1  # Not all saturated.
    return operators(realized)


def test_convolution_bias_and_output_are_exact_integers():
    def build(emit, x):
        c = conv(emit, integer_input(emit, x), padding=[1, 0, 2, 1], strides=[2, 1])
        return through_output(emit, emit(relax.op.add(c, const(BIAS)), "b"))

    mod = module(build, x=(2, 7, 6, 2))
    x = uniform(np.random.default_rng(1), 2, 7, 6, 2) * 6
    (actual, _), _ = run_here(mod, HERE, [x])

    scale, zero = np.float32(IN[0]), IN[1]
    q = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.int64) - zero
    padded = np.pad(q, [(0, 0), (1, 2), (0, 1), (0, 0)])
    acc = np.zeros((2, 4, 5, 5), np.int64)
    for i, j in np.ndindex(3, 3):
        acc += padded[:, i : i + 7 : 2, j : j + 5] @ W[:, i, j].astype(np.int64).T
    acc += np.rint(BIAS.reshape(-1) / (WS.astype(float) * float(scale))).astype(np.int64)
    real = acc * (WS.astype(float) * float(scale))
    expected = np.clip(np.rint(real / OUT[0]) + OUT[1], 0, 255)
    assert np.abs(actual - expected).max() <= 1
    assert (actual != expected).mean() < 0.01


def test_padding_is_with_the_zero_point():
    def build(emit, x):
        return through_output(emit, conv(emit, integer_input(emit, x), padding=1))

    realized = realize(module(build, x=(1, 5, 5, 2)), X86)
    pad = value_of(realized, "c_pad")
    assert list(pad.attrs.pad_width) == [0, 0, 1, 1, 1, 1, 0, 0]
    assert float(pad.attrs.pad_value) == IN[1]
    assert list(value_of(realized, "c").attrs.padding) == [0, 0, 0, 0]


def test_the_module_of_a_mean():
    s, z = np.asarray(np.float32(0.5)), np.asarray(np.int32(7))
    s_out, z_out = np.asarray(np.float32(0.25)), np.asarray(np.int32(9))

    @script
    def before(x: R.Tensor((1, 4, 4, 3), "float32")):
        with R.dataflow():
            q = R.quantize(x, R.const(s), R.const(z), axis=-1, out_dtype="uint8")
            real = R.dequantize(q, R.const(s), R.const(z), axis=-1)
            m = R.mean(real, axis=[1, 2])
            out = R.quantize(m, R.const(s_out), R.const(z_out), axis=-1, out_dtype="uint8")
            R.output(out)
        return out

    s16, z16 = np.asarray(np.float32(0.5 / 16)), np.asarray(np.int32(7 * 16))

    @script
    def after(x: R.Tensor((1, 4, 4, 3), "float32")):
        with R.dataflow():
            q = R.quantize(x, R.const(s), R.const(z), axis=-1, out_dtype="uint8")
            wide = R.astype(q, "int32")
            total = R.sum(wide, axis=[1, 2])
            m = R.dequantize(total, R.const(s16), R.const(z16), axis=-1)
            out = R.quantize(m, R.const(s_out), R.const(z_out), axis=-1, out_dtype="uint8")
            R.output(out)
        return out

    assert_same_module(realize(before, X86), after)


def test_a_matrix_product_reads_integers():
    values = RNG.integers(-127, 128, (6, 4)).astype(np.int8)

    def build(emit, x):
        w = emit(weight(values, WS[:4], 1), "w")
        return through_output(emit, emit(relax.op.matmul(integer_input(emit, x), w), "m"))

    realized = realize(module(build, x=(3, 5, 6)), X86)
    product = value_of(realized, "m")
    assert dtype_of(product.args[0]) == "uint8"
    assert const_value(product.args[1]).tolist() == values.tolist()
    assert integers_after(build, 3, 5, 6)[1:3] == ["matmul", "call_tir m_rescale"]


def test_a_bias_too_large_for_the_accumulator_stays_a_float_addition():
    def build(emit, x):
        c = conv(emit, integer_input(emit, x))
        return through_output(emit, emit(relax.op.add(c, const(np.full(5, 1e9, "f4"))), "b"))

    assert "add" in operators(realize(module(build, x=(1, 5, 5, 2)), X86))


INTEGER = {
    "convolution": (
        lambda emit, x: conv(emit, x, padding=1),
        ["quantize", "nn.pad", "nn.conv2d", "call_tir c_rescale"],
    ),
    "mean": (
        lambda emit, x: emit(relax.op.mean(x, [1, 2]), "m"),
        ["quantize", "astype", "sum", "dequantize"],
    ),
    "table": (
        lambda emit, x: emit(relax.op.multiply(x, emit(relax.op.sigmoid(x), "s")), "t"),
        ["quantize", "call_tir"],
    ),
    "concat": (
        lambda emit, x: emit(relax.op.concat([x, emit(relax.op.tanh(x), "t")], -1), "cat"),
        ["quantize", "dequantize", "quantize", "call_tir", "concat"],
    ),
    "max_pool": (
        lambda emit, x: emit(
            relax.op.nn.max_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1), layout="NHWC"), "p"
        ),
        ["quantize", "dequantize", "quantize", "nn.max_pool2d"],
    ),
    "nearest": (
        lambda emit, x: emit(
            relax.op.image.resize2d(
                x, (10, 12), layout="NHWC", method="nearest_neighbor",
                coordinate_transformation_mode="asymmetric", rounding_method="floor",
            ), "z",
        ),
        ["quantize", "dequantize", "quantize", "image.resize2d"],
    ),
    "reshape": (
        lambda emit, x: emit(relax.op.reshape(x, (1, -1)), "v"),
        ["quantize", "dequantize", "quantize", "reshape"],
    ),
    "pad": (
        lambda emit, x: emit(relax.op.nn.pad(x, [0, 0, 1, 2, 0, 0, 0, 0], pad_value=-2.0), "z"),
        ["quantize", "dequantize", "quantize", "nn.pad"],
    ),
    "slice": (
        lambda emit, x: emit(relax.op.strided_slice(x, [1], [0], [5], [2]), "v"),
        ["quantize", "dequantize", "quantize", "strided_slice"],
    ),
    "no integer form": (
        lambda emit, x: emit(relax.op.nn.softmax(x, -1), "s"),
        ["quantize", "dequantize", "nn.softmax", "quantize"],
    ),
    "linear resize stays float": (
        lambda emit, x: emit(
            relax.op.image.resize2d(x, (9, 9), layout="NHWC", method="linear"), "z"
        ),
        ["quantize", "dequantize", "image.resize2d", "quantize"],
    ),
    "average pool": (
        lambda emit, x: emit(relax.op.nn.avg_pool2d(x, (2, 2), layout="NHWC"), "z"),
        ["quantize", "nn.conv2d", "dequantize", "quantize"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INTEGER)
def test_what_becomes_integer_arithmetic(name):
    build, expected = INTEGER[name]

    def network(emit, x):
        return through_output(emit, build(emit, integer_input(emit, x)))

    found = integers_after(network, 1, 5, 6, 2)
    kinds = ["call_tir" if k.startswith("call_tir") and "rescale" not in k else k for k in found]
    wanted = [*expected]
    if kinds[-2:] == ["quantize", "dequantize"] and wanted[-1] != "quantize":
        wanted.append("quantize")
    assert kinds == [*wanted, "dequantize"]


def test_equal_quantizations_vanish():
    def build(emit, x):
        first = integer_input(emit, x)
        q = emit(quantized(emit(relax.op.reshape(first, (1, 8)), "v"), *IN), "again")
        return emit(dequantized(q, *IN), "y")

    mod = module(build, x=(2, 4))
    assert operators(realize(mod, X86)) == ["quantize", "reshape", "dequantize"]


def test_readers_share_what_is_quantized():
    def build(emit, x):
        a = emit(dequantized(emit(quantized(x, *IN), "q1"), *IN), "a")
        b = emit(dequantized(emit(quantized(x, *IN), "q2"), *IN), "b")
        return [conv(emit, a), conv(emit, b)]

    assert operators(realize(module(build, x=(1, 5, 5, 2)), X86)).count("quantize") == 1


def test_an_imported_bias_of_int32():
    units = RNG.integers(-4000, 4000, 5).astype(np.int32)
    scale = WS * np.float32(IN[0])

    def build(emit, x):
        bias = emit(
            relax.op.dequantize(const(units), const(scale), const(np.zeros(5, np.int32)), 0), "b_dq"
        )
        return through_output(
            emit, emit(relax.op.add(conv(emit, integer_input(emit, x)), bias), "b")
        )

    found = integers_after(build, 1, 5, 6, 2)
    assert "add" not in found


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_bias_on_a_single_channel(shape):
    """A scalar is as good as a vector of one."""

    def build(emit, x):
        kernel = emit(weight(W[:1], WS[:1], 0), "w")
        c = emit(
            relax.op.nn.conv2d(
                integer_input(emit, x), kernel, data_layout="NHWC", kernel_layout="OHWI"
            ),
            "c",
        )
        return through_output(emit, emit(relax.op.add(c, const(np.full(shape, 3, "f4"))), "b"))

    assert "add" not in integers_after(build, 1, 5, 6, 2)


def test_weights_of_uint8_around_128():
    values = (W.astype(np.int16) + 128).astype(np.uint8)

    def build(emit, x):
        w = emit(
            relax.op.dequantize(const(values), const(WS), const(np.full(5, 128, np.int32)), 0), "w"
        )
        c = relax.op.nn.conv2d(integer_input(emit, x), w, data_layout="NHWC", kernel_layout="OHWI")
        return through_output(emit, emit(c, "c"))

    assert "nn.conv2d" in integers_after(build, 1, 5, 6, 2)
    realized = realize(module(build, x=(1, 5, 6, 2)), X86)
    assert const_value(value_of(realized, "c").args[1]).tolist() == W.tolist()


def test_an_asymmetric_weight_stays_float():
    def build(emit, x):
        w = emit(relax.op.dequantize(const(W), const(WS), const(np.full(5, 3, np.int32)), 0), "w")
        c = relax.op.nn.conv2d(integer_input(emit, x), w, data_layout="NHWC", kernel_layout="OHWI")
        return through_output(emit, emit(c, "c"))

    realized = realize(module(build, x=(1, 5, 6, 2)), X86)
    assert dtype_of(value_of(realized, "c")) == "float32"
    integers_after(build, 1, 5, 6, 2)


@pytest.mark.parametrize(
    ("dtype", "zero_point", "target", "expected"),
    [("int8", -100, X86, 28), ("uint8", 100, ARM, -28), ("uint8", 7, X86, 7), ("int8", 7, ARM, 7)],
)
def test_activations_take_the_integer_type_of_the_target(dtype, zero_point, target, expected):
    def build(emit, x):
        q = emit(quantized(x, 0.05, zero_point, dtype), "x_q")
        c = conv(emit, emit(dequantized(q, 0.05, zero_point), "x_dq"), padding=1)
        return through_output(emit, c)

    realized = realize(module(build, x=(1, 5, 5, 2)), target)
    assert dtype_of(value_of(realized, "x_q")) == target.activation_dtype
    assert float(value_of(realized, "c_pad").attrs.pad_value) == expected


def test_an_output_in_integers_keeps_its_type():
    def build(emit, x):
        return emit(quantized(x, 0.05, -3, "int8"), "q")

    mod = module(build, x=(4, 6))
    x = uniform(np.random.default_rng(0), 4, 6)
    (actual,), _ = run_here(mod, HERE, [x])
    assert actual.dtype == np.int8
    np.testing.assert_array_equal(actual, np.rint(x / np.float32(0.05)) - 3)


def test_both_integer_types_give_the_same_integers():
    """The same network for u8 and for s8 dot products: 128 apart, and otherwise equal."""
    signed = msgspec.structs.replace(
        targets.load("rpi3"), family="riscv", triple="riscv64-linux-gnu", dot_product="generic"
    )
    assert signed.activation_dtype == "int8"

    def build(emit, x):
        c = conv(emit, integer_input(emit, x), padding=1)
        return through_output(emit, emit(relax.op.add(c, const(BIAS)), "b"))

    mod = module(build, x=(1, 5, 6, 2))
    x = uniform(np.random.default_rng(1), 1, 5, 6, 2) * 6
    # What is realized for s8 is plain Relax: it runs here, though not with the board's kernels.
    (u8, _), _ = run_here(mod, HERE, [x])
    s8 = run_plain(realize(mod, signed), x)[0]
    np.testing.assert_array_equal(s8, u8)


def test_rounding_is_half_to_even():
    x = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, 300, -300])
    mod = module(lambda emit, x: emit(quantized(x, 1.0, 10), "q"), x=(7,))
    (actual,), _ = run_here(mod, HERE, [x])
    assert actual.tolist() == [10, 12, 12, 10, 8, 255, 0]


def test_control_flow_is_left_alone():
    condition = relax.Var("flag", tensor((), "bool"))
    x = relax.Var("x", tensor((2,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [condition, x]):
        builder.emit_func_output(builder.emit(relax.If(condition, x, x)))
    mod = builder.get()
    assert realize(mod, X86) is mod
