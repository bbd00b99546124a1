"""Rounding to bfloat16 and widening, in vectors of every width, equal ml_dtypes' bit for bit."""

from __future__ import annotations

import re

import ml_dtypes
import msgspec
import numpy as np
import pytest

from tvmcomp import targets
from tvmcomp.schedules.bfloat16 import (
    bfloat16_bits,
    has_bfloat16,
    import_functions,
    round_to_bfloat16,
    widen,
)
from tvmcomp.tvm_import import tvm

te = tvm.te
V4 = targets.load("x86-64-v4")
BF16 = msgspec.structs.replace(V4, features=("avx512bf16",), bfloat16=True)
here = pytest.mark.skipif(
    targets.runs_here(BF16) is not None, reason=str(targets.runs_here(BF16) or "")
)


def vectorized(compute, dtype, size, lanes, target=BF16):
    """An element-wise kernel over ``size`` elements, ``lanes`` at a time."""
    x = te.placeholder((size,), dtype, "x")
    func = te.create_prim_func([x, te.compute((size,), lambda i: compute(x[i]), name="y")])
    schedule = tvm.s_tir.Schedule(import_functions(func, target))
    (loop,) = schedule.get_loops(schedule.get_sblock("y"))
    schedule.vectorize(schedule.split(loop, [None, lanes])[1])
    return tvm.compile(schedule.mod, tvm.target.Target(target.tvm_target_dict()))


def run(executable, x, dtype):
    out = tvm.runtime.tensor(np.zeros(x.shape, dtype))
    executable["main"](tvm.runtime.tensor(x), out)
    return out.numpy()


def numbers(size):
    """Values of every magnitude, the ties between two bfloat16s among them, and infinities."""
    bits = np.random.default_rng(0).integers(0, 2**32, size, np.uint32)
    bits[::3] = bits[::3] & 0xFFFF0000 | 0x8000  # ties
    bits[::7] &= 0xFFFF0000
    x = bits.view(np.float32)
    # The hardware takes numbers below the normal range for zero.
    x = np.where(np.isnan(x) | (np.abs(x) < np.finfo(np.float32).tiny), 1.5, x)
    x[:4] = [np.inf, -np.inf, 0, -0.0]
    return x.astype(np.float32)


@here
@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 12, 16, 32])
def test_rounding_is_to_nearest_even(lanes):
    x = numbers(96 * 40)
    executable = vectorized(round_to_bfloat16, "float32", x.size, lanes)
    expected = x.astype(ml_dtypes.bfloat16).view(np.uint16)
    np.testing.assert_array_equal(run(executable, x, np.uint16), expected)


@here
def test_a_nan_stays_a_nan():
    x = np.full(32, np.nan, np.float32)
    bits = run(vectorized(round_to_bfloat16, "float32", 32, 16), x, np.uint16)
    assert np.isnan(bits.view(ml_dtypes.bfloat16).astype(np.float32)).all()


@here
def test_widening_is_exact():
    x = np.arange(2**16, dtype=np.uint16)
    executable = vectorized(lambda v: widen(v, "uint16", "float32"), "uint16", x.size, 16)
    expected = x.view(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(run(executable, x, np.float32), expected)


@pytest.mark.parametrize(
    ("name", "lanes", "instruction"),
    [("sapphirerapids", 16, r"vcvtneps2bf16.*, %ymm"), ("graviton3", 4, r"bfcvtn\s+v\d+\.4h")],
)
def test_rounding_is_one_instruction(name, lanes, instruction):
    target = targets.load(name)
    executable = vectorized(round_to_bfloat16, "float32", 64, lanes, target)
    assembly = executable.mod.inspect_source("asm")
    assert re.search(instruction, assembly)
    assert "tvmcomp_round" not in assembly  # The function is inlined.


def test_which_targets_multiply_bfloat16():
    names = ("sapphirerapids", "graviton3", "cascadelake", "x86-64-v3", "rpi5", "riscv64", "h100")
    having = [name for name in names if has_bfloat16(targets.load(name))]
    assert having == ["sapphirerapids", "graviton3"]


@pytest.mark.parametrize("number", [0, 1, -3, 128])
def test_the_bits_of_a_number(number):
    assert np.array(bfloat16_bits(number), np.uint16).view(ml_dtypes.bfloat16) == number
