"""Polynomials for exp, log, erf, tanh and sigmoid: against float64, at every kind of number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from passes.relax_modules import module, relax

from tvmcomp import targets
from tvmcomp.codegen.compile import generate, run_here
from tvmcomp.passes.pipeline import lower
from tvmcomp.schedules.tir.vector_math import ROUGH_ERF, ROUGH_EXP
from tvmcomp.tvm_import import tvm

HERE = targets.detect()
TINY = np.finfo(np.float32).tiny

#: Name -> the operator, float64's answer, units in the last place that it may be off.
FUNCTIONS = {
    "exp": (relax.op.exp, np.exp, 2),
    "log": (relax.op.log, np.log, 3),
    "erf": (relax.op.erf, np.vectorize(math.erf, otypes=[np.float64]), 6),
    "tanh": (relax.op.tanh, np.tanh, 6),
    "sigmoid": (relax.op.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 4),
}


def evaluate(name, x):
    mod = module(lambda emit, x: emit(FUNCTIONS[name][0](x), "y"), x=x.shape)
    return run_here(mod, HERE, [x])[0][0]


def numbers():
    """Small and large, both signs, dense where the functions bend, and denormal."""
    rng = np.random.default_rng(0)
    wide = np.exp(rng.uniform(-100, 88, 40_000)) * rng.choice([-1, 1], 40_000)
    dense = np.concatenate([np.linspace(-12, 12, 40_001), np.linspace(-110, 95, 40_000)])
    return np.concatenate([wide, dense]).astype(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_close_to_float64(name):
    _, reference, most = FUNCTIONS[name]
    x = numbers()
    if name == "log":
        x = np.abs(x) + np.float32(1e-45)
    actual = evaluate(name, x)
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.float64))
        expected = exact.astype(np.float32)
        finite = np.isfinite(expected)
        step = np.spacing(np.abs(expected[finite])).astype(np.float64)
        error = np.abs(actual[finite].astype(np.float64) - exact[finite]) / step
    if name == "sigmoid":  # e^-x overflows where the result is denormal: 0 there.
        error = error[exact[finite] > TINY]
    assert error.max() <= most
    np.testing.assert_array_equal(actual[~finite], expected[~finite])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("length", [1, 3, 16, 37])
def test_special_numbers(name, length):
    specials = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 3e38, -3e38]
    x = np.resize(np.float32(specials), max(length, len(specials)))
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name][1](x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(evaluate(name, x), expected, rtol=1e-6, atol=2e-45)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_float_types(name):
    for dtype, tolerance in (("float16", 2e-3), ("float64", 1e-12)):
        x = np.linspace(0.1, 4, 40).astype(dtype)
        mod = module(
            lambda emit, x: emit(FUNCTIONS[name][0](x), "y"),
            x=relax.TensorType(x.shape, dtype),
        )
        (actual,), _ = run_here(mod, HERE, [x])
        assert actual.dtype == dtype
        expected = FUNCTIONS[name][1](x.astype(np.float64))
        np.testing.assert_allclose(actual, expected, rtol=tolerance)


@pytest.mark.parametrize("target", ["native", "x86-64-v3", "rpi4", "armv7", "riscv64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_libm_on_any_target(name, target):
    description = targets.load(target)
    mod = module(lambda emit, x: emit(FUNCTIONS[name][0](x), "y"), x=(2, 48))
    executable = generate(lower(mod, description), description)
    assembly = executable.mod.imports[0].inspect_source("asm")
    libm = {"exp", "expf", "log", "logf", "erff", "tanhf"}
    assert assembly and not libm & set(assembly.replace("@", " ").split())


def evaluate_operator(operator, x):
    """What an operator of ours gives, in float64."""
    te, target = tvm.te, tvm.target.Target(HERE.tvm_target_dict())
    given = te.placeholder(x.shape, "float32", "x")
    result = te.compute(x.shape, lambda i: tvm.tirx.call_intrin("float32", operator, given[i]))
    out = tvm.runtime.tensor(np.empty_like(x))
    tvm.compile(te.create_prim_func([given, result]), target)(tvm.runtime.tensor(x), out)
    return out.numpy().astype(np.float64)


def test_rough_erf_is_as_near_as_bfloat16_needs():
    x = np.concatenate([np.linspace(-6, 6, 60_001), [np.inf, -np.inf, np.nan]]).astype(np.float32)
    actual = evaluate_operator(ROUGH_ERF, x)
    assert np.abs(actual - FUNCTIONS["erf"][1](x.astype(np.float64)))[:-1].max() < 3e-5
    assert np.abs(actual[:-1]).max() <= 1
    assert np.isnan(actual[-1])


def test_rough_exp_is_as_near_as_bfloat16_needs():
    """Of what is at most 0: to 2^-13, and never above e^-86 where it would vanish."""
    x = np.concatenate([np.linspace(-86, 0, 60_001), [-200, -np.inf, np.nan]]).astype(np.float32)
    actual, exact = evaluate_operator(ROUGH_EXP, x), np.exp(x.astype(np.float64))
    assert np.abs(actual[:-3] / exact[:-3] - 1).max() < 2.0**-13
    assert (actual[-3:-1] < 1e-37).all()
    assert np.isnan(actual[-1])
