"""NaN through max and min: the numbers, and the instructions that they take."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tvmcomp import schedules, targets
from tvmcomp.codegen.code_target import code_target
from tvmcomp.schedules.rows.row_compute import softmax
from tvmcomp.tvm_import import tvm

te, tirx = tvm.te, tvm.tirx
HERE = targets.detect()


def compiled(value, target=HERE, dtype="float32"):
    """``value`` of the elements of two arrays of 64, scheduled by us."""
    a, b = (te.placeholder((64,), dtype, name) for name in "ab")
    return built([a, b, te.compute((64,), lambda i: value(a[i], b[i]), name="c")], target)


def built(tensors, target):
    sch = tvm.s_tir.Schedule(te.create_prim_func(tensors))
    schedules.apply_schedule(sch, target)
    return tvm.compile(sch.mod, code_target(target, False))


def instructions(library, *mnemonics):
    """How often each of them is in the assembly, whatever its operands' size."""
    assembly = library.mod.inspect_source("asm")
    return [len(re.findall(rf"^\s*{name}\s", assembly, re.MULTILINE)) for name in mnemonics]


def number(value, dtype="float32"):
    return tirx.const(value, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("operation", ["maximum", "minimum"])
def test_every_order_of_operands(operation, dtype):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 64)).astype(dtype)
    a[::3], b[::5] = np.nan, np.nan
    a[1::7], b[2::7] = np.inf, -np.inf
    compute = te.max if operation == "maximum" else te.min
    expected = getattr(np, operation)
    half, real_half = number(0.5, dtype), np.asarray(0.5, dtype)
    cases = [
        (lambda x, y: compute(x, y), expected(a, b)),
        (lambda x, y: compute(x, half), expected(a, real_half)),
        (lambda x, y: compute(half, x), expected(a, real_half)),
        (lambda x, y: compute(compute(y, half), x), expected(expected(b, real_half), a)),
    ]  # fmt: skip
    for value, wanted in cases:
        out = tvm.runtime.tensor(np.zeros(64, dtype))
        compiled(value, dtype=dtype)(tvm.runtime.tensor(a), tvm.runtime.tensor(b), out)
        np.testing.assert_array_equal(out.numpy(), wanted)


@pytest.mark.parametrize("name", ["sapphirerapids", "x86-64-v3"])
def test_x86_pays_for_two_variables_only(name):
    target = targets.load(name)
    clip = compiled(lambda x, y: te.max(te.min(x, number(6.0)), number(0.0)), target)
    vectors = 64 * 32 // target.vector_bits
    assert instructions(clip, "vminps", "vmaxps", r"vcmp\w*") == [vectors, vectors, 0]
    two = compiled(lambda x, y: te.max(x, y), target)
    assert instructions(two, "vmaxps", "vcmpunordps") == [vectors, vectors]


def test_arm_pays_nothing():
    library = compiled(lambda x, y: te.max(te.min(x, y), number(0.0)), targets.load("rpi4"))
    smaller, larger, comparisons = instructions(library, "fmin", "fmax", "fcmgt")
    assert (smaller, comparisons) == (larger, 0)
    assert smaller >= 1


@pytest.mark.parametrize(
    ("name", "mnemonic"), [("sapphirerapids", "vmaxps"), ("x86-64-v3", "vmaxps"), ("rpi4", "fmax")]
)
def test_a_softmax_looks_for_no_nan(name, mnemonic):
    data = te.placeholder((64, 256), "float32", "data")
    library = built([data, softmax(data, 1)], targets.load(name))
    main, unordered = instructions(library, mnemonic, "vcmpunordps")
    assert main >= 4
    assert unordered <= 6  # Those of the last fold, one a step.
