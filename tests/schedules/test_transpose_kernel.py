"""Transposes: any permutation, element type and size, alone and with what is fused to them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from passes.relax_modules import module, relax, tensor

from tvmcomp import targets
from tvmcomp.compile import generate, run_here
from tvmcomp.passes.pipeline import lower

HERE = targets.detect()


@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(
    axes=st.permutations([0, 1, 2]),
    shape=st.tuples(st.integers(1, 70), st.integers(1, 40), st.integers(1, 70)),
    dtype=st.sampled_from(["float32", "uint8", "int64", "float16", "bool"]),
)
def test_any_permutation(axes, shape, dtype):
    x = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    mod = module(
        lambda emit, v: emit(relax.op.permute_dims(v, list(axes)), "y"), x=tensor(shape, dtype)
    )
    (actual,), _ = run_here(mod, HERE, [x])
    np.testing.assert_array_equal(actual, x.transpose(axes))


@pytest.mark.parametrize("shape", [(64, 48), (33, 130), (5, 200)])
def test_fused_with_what_precedes_and_follows(shape):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(s).astype(np.float32) for s in (shape, shape[::-1]))

    def build(emit, a, b):
        doubled = emit(relax.op.multiply(a, relax.const(2.0)), "d")
        turned = emit(relax.op.permute_dims(doubled), "t")
        return emit(relax.op.nn.relu(emit(relax.op.add(turned, b), "s")), "y")

    mod = module(build, x=x.shape, y=y.shape)
    (actual,), _ = run_here(mod, HERE, [x, y])
    np.testing.assert_allclose(actual, np.maximum(2 * x.T + y, 0), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "shuffle"),
    [("x86-64-v3", r"vunpck|vperm2f128|vblendps|vshufps"), ("rpi4", r"trn[12]|zip[12]|\bext\b")],
)
def test_squares_are_turned_in_registers(name, shuffle):
    target = targets.load(name)
    mod = module(lambda emit, v: emit(relax.op.permute_dims(v), "y"), x=(64, 64))
    assembly = generate(lower(mod, target), target).mod.imports[0].inspect_source("asm")
    assert len(re.findall(shuffle, assembly)) >= 4
