"""Element-wise stages over short rows: whole vectors over several rows, at odd sizes too."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from passes.relax_modules import module, relax, uniform

from tvmcomp import targets
from tvmcomp.codegen.compile import run_here
from tvmcomp.passes.pipeline import lower
from tvmcomp.passes.rewriter import const

RUNNABLE = [targets.detect()] + [
    description
    for description in map(targets.load, ("x86-64-v2", "x86-64-v3", "x86-64-v4"))
    if targets.runs_here(description) is None
]
few = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
shapes = st.lists(st.integers(1, 23), min_size=1, max_size=4)


def run(build, target, *inputs):
    mod = module(build, **{f"x{i}": x.shape for i, x in enumerate(inputs)})
    (actual,), _ = run_here(mod, target, list(inputs))
    return actual


@pytest.mark.parametrize("target", RUNNABLE, ids=lambda target: target.name)
@few
@given(shape=shapes, seed=st.integers(0, 3), other=st.sampled_from(["same", "one", "row", "rows"]))
def test_two_tensors_of_short_rows(target, shape, seed, other):
    rng = np.random.default_rng(seed)
    sizes = {
        "same": shape,
        "one": [1] * len(shape),
        "row": [1] * (len(shape) - 1) + shape[-1:],
        "rows": [*shape[:-1], 1],
    }
    x, y = uniform(rng, *shape), uniform(rng, *sizes[other])

    def build(emit, a, b):
        return emit(relax.op.tanh(emit(relax.op.add(a, b), "sum")), "y")

    np.testing.assert_allclose(run(build, target, x, y), np.tanh(x + y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
@few
@given(shape=st.lists(st.integers(1, 13), min_size=3, max_size=3), seed=st.integers(0, 3))
def test_short_rows_that_are_joined_and_cut(axis, shape, seed):
    """Their tensors lie within others then, and rows don't follow each other."""
    rng = np.random.default_rng(seed)
    x, y = uniform(rng, *shape), uniform(rng, *shape)

    def build(emit, a, b):
        parts = [emit(relax.op.sigmoid(a), "s"), emit(relax.op.exp(b), "e")]
        whole = emit(relax.op.concat(parts, axis), "whole")
        begin = 1 if shape[axis] > 1 else 0
        part = emit(relax.op.strided_slice(whole, [axis], [begin], [2 * shape[axis]]), "part")
        return emit(relax.op.negative(emit(relax.op.tanh(part), "t")), "y")

    whole = np.concatenate([1 / (1 + np.exp(-x)), np.exp(y)], axis)
    begin = 1 if shape[axis] > 1 else 0
    expected = -np.tanh(np.take(whole, range(begin, 2 * shape[axis]), axis))
    np.testing.assert_allclose(run(build, targets.detect(), x, y), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(50, 100, 16, 7), (1, 8400, 5), (16, 21)])
def test_vectors_are_whole(shape):
    def build(emit, x):
        return emit(relax.op.multiply(x, const(np.float32(3))), "y")

    lowered = lower(module(build, x=shape), targets.load("x86-64-v4"))
    (kernel,) = (
        str(func)
        for func in lowered.looped.functions.values()
        if not isinstance(func, relax.Function)
    )
    assert set(re.findall(r"T\.vectorized\(T\.int64\((\d+)\)", kernel)) == {"16"}
