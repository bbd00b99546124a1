"""The default schedule of everything that is no anchor: right for every shape, and never naive."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from passes.relax_modules import module, relax, run_plain, tensor, uniform

from tvmcomp import targets
from tvmcomp.codegen.compile import generate, run_here
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const

HERE = targets.detect()
few = settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
shapes = st.lists(st.integers(1, 19), min_size=2, max_size=4).map(tuple)

#: Name -> the operator in Relax and in numpy.
OPERATORS = {
    "softmax": (lambda x: relax.op.nn.softmax(x), lambda x: softmax(x, -1)),
    "softmax, first axis": (lambda x: relax.op.nn.softmax(x, axis=0), lambda x: softmax(x, 0)),
    "mean of the last axis": (lambda x: relax.op.mean(x, [-1]), lambda x: x.mean(-1)),
    "mean of the first axis": (lambda x: relax.op.mean(x, [0]), lambda x: x.mean(0)),
    "mean of everything": (lambda x: relax.op.mean(x), np.mean),
    "variance": (
        lambda x: relax.op.variance(x, [-1], keepdims=True),
        lambda x: x.var(-1, keepdims=True),
    ),
    "max": (lambda x: relax.op.max(x, [-1], keepdims=True), lambda x: x.max(-1, keepdims=True)),
    "argmax": (lambda x: relax.op.argmax(x, -1), lambda x: x.argmax(-1)),
    "cumsum": (lambda x: relax.op.cumsum(x, -1), lambda x: x.cumsum(-1)),
    "chain": (
        lambda x: relax.op.tanh(relax.op.add(relax.op.exp(x), relax.op.negative(x))),
        lambda x: np.tanh(np.exp(x) - x),
    ),
    "transpose": (
        lambda x: relax.op.add(relax.op.permute_dims(x), relax.const(1.0)),
        lambda x: x.T + 1,
    ),
    "concat": (
        lambda x: relax.op.concat([x, relax.op.nn.relu(x)], -1),
        lambda x: np.concatenate([x, np.maximum(x, 0)], -1),
    ),
    "sort": (lambda x: relax.op.sort(x, -1), lambda x: np.sort(x, -1)),
}


def softmax(x, axis):
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def check(mod, *inputs):
    for actual, expected in zip(
        run_here(mod, HERE, inputs)[0], run_plain(mod, *inputs), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPERATORS)
def test_any_shape(name):
    operator, reference = OPERATORS[name]

    @few
    @given(shapes)
    def run(shape):
        x = uniform(np.random.default_rng(0), *shape)
        mod = module(lambda emit, x: emit(operator(x), "y"), x=shape)
        (actual,), _ = run_here(mod, HERE, [x])
        np.testing.assert_allclose(actual, reference(x), rtol=1e-5, atol=1e-5)

    run()


@pytest.mark.parametrize("width", [1, 7, 16, 33])
def test_layer_norm(width):
    rng = np.random.default_rng(0)
    x, gamma, beta = uniform(rng, 2, 5, width), uniform(rng, width), uniform(rng, width)
    mod = module(
        lambda emit, x: emit(relax.op.nn.layer_norm(x, const(gamma), const(beta), [-1]), "y"),
        x=x.shape,
    )
    centred = x - x.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gamma + beta
    (actual,), _ = run_here(mod, HERE, [x])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [3, 16, 20])
@pytest.mark.parametrize("kind", ["max_pool2d", "avg_pool2d"])
def test_pool(kind, channels):
    operator = getattr(relax.op.nn, kind)
    mod = module(
        lambda emit, x: emit(
            operator(x, (3, 3), (2, 2), (1, 0, 1, 2), layout="NHWC", out_layout="NHWC"), "y"
        ),
        x=(2, 9, 7, channels),
    )
    check(mod, uniform(np.random.default_rng(0), 2, 9, 7, channels))


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_other_types(dtype):
    x = np.random.default_rng(0).integers(0, 2, (3, 5)).astype(dtype)
    mod = module(
        lambda emit, x: emit(
            relax.op.astype(emit(relax.op.concat([x, x], 0), "c"), "float32"), "y"
        ),
        x=tensor(x.shape, dtype),
    )
    check(mod, x)


@pytest.mark.parametrize("name", ["max", "min", "sum", "mean"])
def test_few_rows_of_much_are_reduced_in_parts(name):
    """Fewer rows than cores: maxima and minima start at infinity in the parts as well."""
    x = uniform(np.random.default_rng(0), 2, 300, 400)
    x[0] = {"max": -np.inf, "min": np.inf}.get(name, 1)
    target = msgspec.structs.replace(HERE, cores=4)
    operator = getattr(relax.op, name)
    mod = module(lambda emit, x: emit(operator(x, [1, 2]), "y"), x=x.shape)
    assert "_rf" in lower_and_generate(mod, target)
    (actual,), _ = run_here(mod, target, [x])
    np.testing.assert_allclose(actual, getattr(x, name)((1, 2)), rtol=1e-4)


def lower_and_generate(mod, target):
    return generate(lower(mod, target), target).mod.imports[0].inspect_source("ll")


def test_an_empty_tensor():
    mod = module(lambda emit, x: emit(relax.op.nn.relu(x), "y"), x=(2, 0, 4))
    check(mod, np.zeros((2, 0, 4), np.float32))


@pytest.mark.parametrize("operator", ["mean", "add"])
def test_a_loop_over_channels_is_vectorized(operator):
    """A reduction over pixels and a broadcast addition use the target's whole vectors."""
    target = targets.load("x86-64-v3")
    build = {
        "mean": lambda x: relax.op.mean(x, [1, 2]),
        "add": lambda x: relax.op.add(x, const(np.ones((1, 1, 1, 32), np.float32))),
    }[operator]
    mod = module(lambda emit, x: emit(build(x), "y"), x=(1, 8, 8, 32))
    asm = generate(lower(mod, target), target).mod.imports[0].inspect_source("asm")
    assert re.search(r"vaddps.*%ymm", asm)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
@pytest.mark.parametrize("behind", [0, 3])
def test_a_border_is_put_around_what_is_computed_on_the_way(order, behind):
    """However long that takes: each of its elements has one place, so none is computed twice. Along
    the last axis a vector would be half in the border: there it is a pass of its own."""

    def build(emit, v):
        turned = emit(relax.op.permute_dims(emit(relax.op.tanh(v), "h"), list(order)), "t")
        return emit(relax.op.nn.pad(turned, [0, 0, 1, 2, 3, 0, 0, behind], pad_value=0.5), "y")

    mod = module(build, x=(1, 32, 14, 17))
    check(mod, uniform(np.random.default_rng(0), 1, 32, 14, 17))
    assert ("T_transpose_intermediate" in lower(mod, HERE).mod.script()) == bool(behind)
