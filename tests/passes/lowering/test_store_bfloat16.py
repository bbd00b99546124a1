"""Activations in bfloat16: which tensors are, that the numbers are those of bfloat16, and the
instructions of each kernel."""

from __future__ import annotations

import re

import ml_dtypes
import msgspec
import numpy as np
import pytest
from passes.relax_modules import module, operators, relax, uniform

from tvmcomp import targets
from tvmcomp.codegen.compile import generate, run_here
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const, dtype_of, op_name, shape_of

V4 = targets.load("x86-64-v4")
BF16 = msgspec.structs.replace(V4, features=("avx512bf16",), bfloat16=True)
here = pytest.mark.skipif(
    targets.runs_here(BF16) is not None, reason=str(targets.runs_here(BF16) or "")
)
RNG = np.random.default_rng(0)


def conv(emit, x, w, name, **attributes):
    call = relax.op.nn.conv2d(
        x, const(w), data_layout="NHWC", kernel_layout="OHWI", padding=w.shape[1] // 2, **attributes
    )
    return emit(call, name)


def relu(emit, x, name):
    return emit(relax.op.nn.relu(x), name)


W0, W1, W2 = uniform(RNG, 7, 3, 3, 5), uniform(RNG, 7, 3, 3, 7), uniform(RNG, 18, 1, 1, 7)
BIAS = uniform(RNG, 7)
SHAPE = (1, 9, 8, 5)


def residual(emit, x):
    """Odd channels throughout: no pair of input channels is whole at the end."""
    a = relu(emit, emit(relax.op.add(conv(emit, x, W0, "c0"), const(BIAS)), "b"), "a")
    b = relu(emit, emit(relax.op.add(conv(emit, a, W1, "c1"), a), "s"), "r")
    return conv(emit, b, W2, "c2")


def written(mod):
    """Name, shape and dtype of what each kernel of ``main`` writes, in order."""
    bindings = lower(mod, BF16, half="bfloat16").mod["main"].body.blocks[0].bindings
    results = [b.var for b in bindings if op_name(b.value) == "call_tir"]
    return [(var.name, shape_of(var), dtype_of(var)) for var in results]


def rounded(x):
    return x.astype(ml_dtypes.bfloat16).astype(np.float64)


def convolve(x, w):
    """NHWC convolution in float64, padded to the same size."""
    border = w.shape[1] // 2
    x = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    height, width = x.shape[1] - 2 * border, x.shape[2] - 2 * border
    return sum(
        np.einsum("nhwi,oi->nhwo", x[:, i : i + height, j : j + width], w[:, i, j])
        for i in range(w.shape[1])
        for j in range(w.shape[2])
    )


def test_what_passes_between_kernels_is_bfloat16_and_the_output_is_float32():
    dtypes = [dtype for _, _, dtype in written(module(residual, x=SHAPE))]
    assert set(dtypes[:-1]) == {"uint16"}
    assert dtypes[-1] == "float32"


@here
def test_the_numbers_are_those_of_bfloat16():
    """Against float64 that rounds where the kernels do: only an element between two bfloat16s,
    where the sums' own error decides, may differ."""
    x = uniform(np.random.default_rng(1), *SHAPE)
    (actual,), _ = run_here(module(residual, x=SHAPE), BF16, [x], half="bfloat16")
    a = rounded(np.maximum(convolve(rounded(x), rounded(W0)) + BIAS, 0))
    b = rounded(np.maximum(convolve(a, rounded(W1)) + a, 0))
    expected = convolve(b, rounded(W2))
    a32 = np.maximum(convolve(x, W0) + BIAS, 0)
    float_result = convolve(np.maximum(convolve(a32, W1) + a32, 0), W2)
    error, rounding = np.abs(actual - expected), np.abs(float_result - expected)
    assert np.median(error) < 1e-5 * np.abs(expected).max()
    assert error.mean() < 0.1 * rounding.mean()
    assert rounding.max() < 0.02 * np.abs(expected).max()


def depthwise(emit, x):
    a = relu(emit, conv(emit, x, W0, "c0"), "a")
    d = conv(emit, a, uniform(RNG, 7, 3, 3, 1), "d", groups=7)
    return relu(emit, conv(emit, relu(emit, d, "e"), W2, "c2"), "f")


def moved(emit, x):
    """Pooling, reshapes and transposes between anchors, and the input used twice."""
    a = relu(emit, conv(emit, x, W0, "c0"), "a")
    p = emit(relax.op.nn.max_pool2d(a, (2, 2), strides=(1, 1), layout="NHWC"), "p")
    t = emit(relax.op.permute_dims(p, [0, 2, 1, 3]), "t")
    m = emit(relax.op.matmul(emit(relax.op.reshape(t, (1, 56, 7)), "f"), const(W2[:, 0, 0].T)), "m")
    k = emit(relax.op.concat([m, emit(relax.op.nn.softmax(m), "s")], axis=-1), "k")
    return emit(relax.op.matmul(k, const(uniform(RNG, 36, 3))), "y")


def averaged(emit, x):
    a = relu(emit, conv(emit, x, W0, "c0"), "a")
    mean = emit(relax.op.mean(a, [1, 2], keepdims=True), "mean")
    centred = emit(relax.op.subtract(a, mean), "centred")
    exponent = emit(relax.op.exp(mean), "exponent")
    return [conv(emit, centred, W2, "c2"), conv(emit, exponent, W2, "c3")]


def split_in_two(emit, x):
    a = relu(emit, conv(emit, x, W0, "c0"), "a")
    halves = emit(relax.op.split(a, 2, axis=2), "halves")
    left, right = (emit(relax.TupleGetItem(halves, i), f"half{i}") for i in (0, 1))
    return [conv(emit, emit(relax.op.add(left, right), "s"), W2, "c2"), left]


def gated(emit, x):
    """Squeeze and excite."""
    a = relu(emit, conv(emit, x, W0, "c0"), "a")
    mean = emit(relax.op.mean(a, [1, 2], keepdims=True), "mean")
    gate = emit(relax.op.sigmoid(conv(emit, mean, uniform(RNG, 7, 1, 1, 7), "g")), "gate")
    return conv(emit, emit(relax.op.multiply(a, gate), "gated"), W2, "c2")


def fire(emit, x):
    """Two convolutions and a pool side by side, joined with the network's own input, and read by
    a window with a border."""
    a = relu(emit, conv(emit, x, W0, "c0"), "a")
    one = relu(emit, conv(emit, a, uniform(RNG, 16, 1, 1, 7), "one"), "r1")
    three = relu(emit, conv(emit, a, uniform(RNG, 9, 3, 3, 7), "three"), "r3")
    pool = relax.op.nn.max_pool2d(a, (3, 3), strides=(1, 1), padding=1, layout="NHWC")
    joined = emit(relax.op.concat([one, three, emit(pool, "pool")], axis=3), "joined")
    again = emit(relax.op.concat([joined, x], axis=3), "again")
    return [conv(emit, joined, uniform(RNG, 5, 3, 3, 32), "c3"),
            conv(emit, again, uniform(RNG, 5, 1, 1, 37), "c4"), again]  # fmt: skip


def dense(emit, x):
    """Each layer reads all before it, normalized and cut off at 0."""
    features = relu(emit, conv(emit, x, uniform(RNG, 16, 3, 3, 5), "stem"), "s")
    for i in range(3):
        channels = 16 + 8 * i
        scaled = emit(relax.op.multiply(features, const(uniform(RNG, channels))), f"scaled{i}")
        new = conv(emit, relu(emit, scaled, f"n{i}"), uniform(RNG, 8, 3, 3, channels), f"d{i}")
        features = emit(relax.op.concat([features, new], axis=3), f"features{i}")
    return conv(emit, features, uniform(RNG, 6, 1, 1, 40), "last")


def cross_stage(emit, x):
    """Half of the channels goes past a residual block."""
    a = relu(emit, conv(emit, x, uniform(RNG, 32, 3, 3, 5), "c0"), "a")
    halves = emit(relax.op.split(a, 2, axis=3), "halves")
    past, through = (emit(relax.TupleGetItem(halves, i), f"half{i}") for i in (0, 1))
    b = relu(emit, conv(emit, through, uniform(RNG, 16, 3, 3, 16), "c1"), "b")
    c = emit(relax.op.add(through, conv(emit, b, uniform(RNG, 16, 1, 1, 16), "c2")), "c")
    joined = emit(relax.op.concat([past, c, through], axis=3), "joined")
    return conv(emit, joined, uniform(RNG, 6, 1, 1, 48), "last")


def gelu(emit, x):
    a = conv(emit, x, W0, "c0")
    inner = emit(relax.op.erf(emit(relax.op.multiply(a, const(np.float32(0.7071))), "z")), "erf")
    grown = emit(relax.op.multiply(a, emit(relax.op.add(inner, const(np.float32(1))), "one")), "g")
    return conv(emit, grown, W2, "c2")


BUILDS = [gelu, residual, depthwise, moved, averaged, split_in_two, gated, fire, dense, cross_stage]


@here
@pytest.mark.parametrize("build", BUILDS, ids=lambda b: b.__name__)
def test_close_to_float32(build):
    mod = module(build, x=SHAPE)
    x = uniform(np.random.default_rng(2), *SHAPE)
    narrow, _ = run_here(mod, BF16, [x], half="bfloat16")
    wide, _ = run_here(mod, BF16, [x])
    for actual, expected in zip(narrow, wide, strict=True):
        assert actual.dtype == np.float32
        difference = np.abs(actual - expected) / np.abs(expected).max()
        assert difference.max() < 0.03
        assert difference.mean() < 0.005


def test_a_join_of_what_convolutions_give_is_no_kernel():
    """They write into their places of it, in bfloat16."""

    def build(emit, x):
        a = relu(emit, conv(emit, x, W0, "c0"), "a")
        parts = [conv(emit, a, uniform(RNG, 16, k, k, 7), f"c{k}") for k in (1, 3)]
        return conv(emit, emit(relax.op.concat(parts, axis=3), "j"), uniform(RNG, 5, 1, 1, 32), "d")

    names = operators(lower(module(build, x=SHAPE), BF16, half="bfloat16").mod)
    assert "placed" in names[-3]
    assert names[-2] == "call_tir_inplace"
    assert not [name for name in names if "join" in name or "copy" in name]


def test_what_is_only_moved_stays_as_it_is():
    """No rounding and no widening for a transposition between two convolutions."""

    def build(emit, x):
        a = relu(emit, conv(emit, x, W0, "c0"), "a")
        return conv(emit, emit(relax.op.permute_dims(a, [0, 2, 1, 3]), "t"), W1, "c1")

    tasks = lower(module(build, x=SHAPE), BF16, half="bfloat16").tasks
    (func,) = (func for name, func in tasks.items() if "transpose" in name)
    assert {str(param.dtype) for param in func.params} == {"uint16"}
    assert "float32" not in func.script()


def test_a_scan_stays_float32():
    """Its loops take their buffers as they are."""

    def network(emit, x):
        summed = emit(relax.op.cumsum(conv(emit, x, W0, "c0"), 1), "scan")
        return conv(emit, summed, W1, "c1")

    mod = module(network, x=SHAPE)
    dtypes = [dtype for name, _, dtype in written(mod) if name.startswith("scan")]
    assert dtypes == ["float32"]


def test_what_is_reduced_stays_float32():
    """A mean, and what is subtracted from it, would lose its last bits."""
    means = {
        dtype for _, shape, dtype in written(module(averaged, x=SHAPE)) if shape == (1, 1, 1, 7)
    }
    assert means == {"float32"}


def test_an_input_that_two_anchors_read_is_rounded_once():
    def build(emit, x):
        return [conv(emit, x, W0, "c0"), conv(emit, x, uniform(RNG, 4, 3, 3, 5), "c1")]

    names = operators(lower(module(build, x=SHAPE), BF16, half="bfloat16").mod)
    assert sum("rounded" in name for name in names) == 1


def test_a_uint16_of_the_network_is_no_bfloat16():
    """What is computed from it, with no weights, keeps float32's digits between kernels."""

    def build(emit, x):
        real = emit(relax.op.astype(x, "float32"), "real")
        highest = emit(relax.op.max(real, [3], keepdims=True), "highest")
        below = emit(relax.op.subtract(highest, real), "below")
        return emit(relax.op.subtract(below, emit(relax.op.nn.softmax(below), "s")), "y")

    mod = module(build, x=relax.TensorType(SHAPE, "uint16"))
    lowered = lower(mod, BF16, half="bfloat16").mod
    bindings = [binding for block in lowered["main"].body.blocks for binding in block.bindings]
    assert {dtype_of(binding.var) for binding in bindings} == {"float32"}


def test_without_bfloat16_arithmetic_only_the_weights_are_stored_so():
    lowered = lower(module(residual, x=SHAPE), V4, half="bfloat16")
    bindings = lowered.mod["main"].body.blocks[0].bindings
    assert {dtype_of(binding.var) for binding in bindings} == {"float32"}
    assert sorted(str(c.dtype) for c in lowered.constants) == ["float32", *["uint16"] * 3]


@pytest.mark.parametrize(
    ("name", "dot", "multiply_add", "call"),
    [
        ("sapphirerapids", "vdpbf16ps", r"vfmadd\w+ps", r"callq\s+tvmcomp"),
        ("graviton3", "bfdot", "fmla", r"bl\s+tvmcomp"),
    ],
)
def test_the_instructions_of_each_kernel(name, dot, multiply_add, call):
    """Anchors multiply bfloat16 and have no other way to; a depthwise one widens."""
    target = msgspec.structs.replace(targets.load(name), dot_product="generic")
    lowered = lower(module(depthwise, x=(1, 9, 8, 5)), target, half="bfloat16")
    executable = generate(lowered, target)
    assembly = executable.mod.imports[0].inspect_source("asm")
    assert not re.search(call, assembly)
    found = {}
    for function in re.split(r"\n(?=[A-Za-z_]\w*:\n)", assembly):
        kernel = function.split(":", 1)[0]
        found[kernel] = (
            bool(re.search(rf"\b{dot}\b", function)),
            bool(re.search(rf"\b{multiply_add}\b", function)),
        )
    for anchor, expected in {"c0": (True, False), "d": (False, True), "c2": (True, False)}.items():
        bodies = [f for kernel, f in found.items() if re.match(rf"(fused_)?{anchor}(_|\b)", kernel)]
        assert expected in bodies, (anchor, found)
        assert tuple(not e for e in expected) not in bodies
