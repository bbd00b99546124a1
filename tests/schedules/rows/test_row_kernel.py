"""Row kernels: normalizations and reductions against float64, at sizes that no vector divides."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from passes.relax_modules import module, relax, tensor, uniform

from tvmcomp import targets
from tvmcomp.codegen.compile import generate, run_here
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const

HERE = targets.detect()
#: One float at a time, as a RISC-V without vectors, and vectors of 4, of 8, of 16 floats.
NO_VECTORS = msgspec.structs.replace(
    targets.load("x86-64-v2"), name="no-vectors", vector_bits=32, dot_product="generic"
)
RUNNABLE = [HERE] + [
    description
    for description in (NO_VECTORS, *map(targets.load, ("x86-64-v2", "x86-64-v3", "x86-64-v4")))
    if targets.runs_here(description) is None
]
few = settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
lengths = st.integers(1, 150)
on_each_target = pytest.mark.parametrize("target", RUNNABLE, ids=lambda target: target.name)


def run(build, target, *inputs, **types):
    kinds = types or {f"x{i}": x.shape for i, x in enumerate(inputs)}
    (actual,), _ = run_here(module(build, **kinds), target, list(inputs))
    return actual


def softmax(x, axis):
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def normalize(x, axes, epsilon=1e-5):
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + epsilon)


@on_each_target
@few
@given(rows=st.integers(1, 40), length=lengths, axis=st.sampled_from([-1, 0, 1]))
def test_softmax(target, rows, length, axis):
    x = uniform(np.random.default_rng(0), 2, rows, length) * 20
    actual = run(lambda emit, v: emit(relax.op.nn.softmax(v, axis), "y"), target, x)
    np.testing.assert_allclose(actual, softmax(x.astype(np.float64), axis), rtol=2e-6, atol=1e-12)


def test_softmax_of_masked_and_huge_numbers():
    x = np.float32([[0, -np.inf, 3e38, 1], [-np.inf, -np.inf, 0, -np.inf], [np.nan, 1, 2, 3]])
    actual = run(lambda emit, v: emit(relax.op.nn.softmax(v, -1), "y"), HERE, x)
    np.testing.assert_array_equal(actual[:2], [[0, 0, 1, 0], [0, 0, 1, 0]])
    assert np.isnan(actual[2]).all()


@on_each_target
@few
@given(rows=st.integers(1, 40), length=lengths, offset=st.sampled_from([0, 1000]))
def test_layer_norm(target, rows, length, offset):
    rng = np.random.default_rng(0)
    x = uniform(rng, rows, length) + np.float32(offset)
    gamma, beta = uniform(rng, length), uniform(rng, length)

    def build(emit, v):
        return emit(relax.op.nn.layer_norm(v, const(gamma), const(beta), [-1]), "y")

    expected = normalize(x.astype(np.float64), -1) * gamma + beta
    # Of a thousand and a bit, float32 holds four digits of the bit.
    tolerance = 2e-5 if offset == 0 else 1e-2
    np.testing.assert_allclose(run(build, target, x), expected, rtol=tolerance, atol=tolerance)


@on_each_target
@pytest.mark.parametrize(
    ("shape", "groups"), [((1, 5, 7, 6), 3), ((2, 9, 32), 4), ((1, 64, 64, 24), 8)]
)
def test_group_norm_of_channels_last(target, shape, groups):
    rng = np.random.default_rng(0)
    x, gamma, beta = uniform(rng, *shape), uniform(rng, shape[-1]), uniform(rng, shape[-1])
    axes = list(range(1, len(shape) - 1))

    def build(emit, v):
        norm = relax.op.nn.group_norm(
            v, const(gamma), const(beta), groups, channel_axis=len(shape) - 1, axes=axes
        )
        return emit(norm, "y")

    grouped = x.astype(np.float64).reshape(shape[0], -1, groups, shape[-1] // groups)
    expected = normalize(grouped, (1, 3)).reshape(shape) * gamma + beta
    np.testing.assert_allclose(run(build, target, x), expected, rtol=1e-4, atol=1e-5)


REDUCTIONS = {
    "sum": (relax.op.sum, np.sum),
    "mean": (relax.op.mean, np.mean),
    "max": (relax.op.max, np.max),
    "min": (relax.op.min, np.min),
    "prod": (relax.op.prod, np.prod),
}


@on_each_target
@pytest.mark.parametrize("name", REDUCTIONS)
@few
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 9), lengths),
    axes=st.sampled_from([(2,), (1,), (0, 1), (1, 2), (0, 2), (0, 1, 2)]),
    keepdims=st.booleans(),
)
def test_reductions(target, name, shape, axes, keepdims):
    operator, reference = REDUCTIONS[name]
    x = uniform(np.random.default_rng(0), *shape)
    actual = run(lambda emit, v: emit(operator(v, list(axes), keepdims), "y"), target, x)
    expected = reference(x.astype(np.float64), axis=axes, keepdims=keepdims)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 128, 96, 40), (1, 4096, 130), (700_001,), (1, 600_000)])
def test_large_reductions_to_few_rows_are_parallel(shape):
    axes = list(range(max(1, len(shape) - 1))) if len(shape) > 2 else [len(shape) - 1]
    x = uniform(np.random.default_rng(0), *shape)
    mod = module(lambda emit, v: emit(relax.op.mean(v, axes), "y"), x=shape)
    (actual,), _ = run_here(mod, HERE, [x])
    expected = x.astype(np.float64).mean(tuple(axes))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    if shape != (700_001,):  # a prime: nothing divides it
        assert is_parallel(mod)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [-1, 0])
def test_arg_extremes_take_the_first(name, keepdims, axis):
    x = np.random.default_rng(0).integers(0, 5, (7, 45)).astype(np.float32)
    operator = getattr(relax.op, name)
    actual = run(lambda emit, v: emit(operator(v, axis, keepdims), "y"), HERE, x)
    np.testing.assert_array_equal(actual, getattr(np, name)(x, axis=axis, keepdims=keepdims))


def test_arg_max_of_nan_is_an_index():
    x = np.full((2, 21), np.nan, np.float32)
    actual = run(lambda emit, v: emit(relax.op.argmax(v, -1), "y"), HERE, x)
    assert ((actual >= 0) & (actual < 21)).all()


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int8"])
def test_integer_reductions_are_exact(dtype):
    x = np.random.default_rng(0).integers(0, 100, (3, 45, 67)).astype(dtype)

    def build(emit, v):
        return emit(relax.op.sum(emit(relax.op.astype(v, "int32"), "w"), [1]), "y")

    actual = run(build, HERE, x, x=tensor(x.shape, dtype))
    np.testing.assert_array_equal(actual, x.astype(np.int64).sum(1))
    highest = run(lambda e, v: e(relax.op.max(v, [2]), "y"), HERE, x, x=tensor(x.shape, dtype))
    np.testing.assert_array_equal(highest, x.max(2))


@on_each_target
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_few_channels(target, channels):
    x = uniform(np.random.default_rng(0), 1, 9, 33, channels)
    actual = run(lambda emit, v: emit(relax.op.multiply(v, v), "y"), target, x)
    np.testing.assert_array_equal(actual, x * x)


def is_parallel(mod):
    assembly = generate(lower(mod, HERE), HERE).mod.imports[0].inspect_source("asm")
    return "TVMBackendParallelLaunch" in assembly


@pytest.mark.skipif(HERE.cores < 2, reason="one core")
def test_only_what_takes_long_is_parallel():
    def gelu(size):
        return module(lambda emit, v: emit(relax.op.nn.gelu(v), "y"), x=(size, 64))

    assert not is_parallel(gelu(8))
    assert is_parallel(gelu(4096))
