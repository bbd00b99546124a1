"""Running sums and products along any axis, against numpy: the same numbers, tails and all."""

from __future__ import annotations

import re

import numpy as np
import pytest
from schedules.anchor_cases import call, compiled

from tvmcomp import targets
from tvmcomp.schedules.rows.scan import scan
from tvmcomp.tvm_import import tvm

te = tvm.te
HERE = targets.detect()

#: Shape and axis.
CASES = [
    ((3, 7, 5), 1),
    ((9, 100), 0),
    ((6, 5), 1),
    ((1,), 0),
    ((2, 4, 3, 16), 1),
    ((5, 3, 67), 1),
    ((3, 40, 5000), 0),
    ((2, 3, 4, 5), 3),
]


def scan_function(shape, axis, dtype, combine, start, exclusive, target=HERE):
    data = te.placeholder(shape, dtype, "data")
    first = tvm.tirx.const(start, dtype)
    func = te.create_prim_func([data, scan(data, axis, combine, first, exclusive, target)])
    return func.with_attr("global_symbol", "main")


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("exclusive", [False, True])
def test_running_sums(shape, axis, exclusive):
    dtype = ("float32", "int64", "float64")[sum(shape) % 3]
    data = np.random.default_rng(0).integers(-9, 10, shape).astype(dtype)
    expected = np.cumsum(data, axis=axis, dtype=dtype)
    if exclusive:
        expected = expected - data
    func = scan_function(shape, axis, dtype, lambda a, b: a + b, 0, exclusive)
    executable = compiled(tvm.IRModule({"main": func}), HERE)
    np.testing.assert_array_equal(call(executable, [data], shape, dtype), expected)


def test_running_products():
    data = np.random.default_rng(0).integers(1, 4, (2, 5, 19)).astype("int32")
    func = scan_function(data.shape, 1, "int32", lambda a, b: a * b, 1, False)
    executable = compiled(tvm.IRModule({"main": func}), HERE)
    expected = np.cumprod(data, axis=1, dtype="int32")
    np.testing.assert_array_equal(call(executable, [data], data.shape, "int32"), expected)


@pytest.mark.parametrize(
    ("name", "instruction"), [("x86-64-v3", "vaddps\t.*ymm"), ("arm", r"fadd\tv\d+\.4s")]
)
def test_the_sums_are_vectors(name, instruction):
    target = targets.load(name)
    func = scan_function((4, 8, 64), 1, "float32", lambda a, b: a + b, 0, False, target)
    code = compiled(tvm.IRModule({"main": func}), target).mod.inspect_source("asm")
    assert re.search(instruction, code)
