"""The runs of an axis in which indices with remainders grow evenly."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from schedules.anchor_cases import call, compiled, scheduled

from tvmcomp import targets
from tvmcomp.schedules.rows.period import period_of
from tvmcomp.schedules.stages import read_stages
from tvmcomp.tvm_import import tvm

te, topi = tvm.te, tvm.topi


def function(shape, operation):
    data = te.placeholder(shape, "float32", "data")
    return te.create_prim_func([data, operation(data)])


@pytest.mark.parametrize(
    ("shape", "operation", "period"),
    [
        ((4, 30), lambda x: topi.tile(x, (1, 2)), 30),
        ((4, 30), lambda x: topi.reshape(x, (2, 60)), 30),
        ((6, 7, 10), lambda x: topi.reshape(x, (6, 70)), 10),
        ((6, 70), lambda x: topi.reshape(x, (6, 7, 10)), 10),
        ((6, 70), lambda x: topi.transpose(x), 6),
    ],
)
def test_period(shape, operation, period):
    func = function(shape, operation)
    (stage,) = read_stages(tvm.s_tir.Schedule(func))
    assert period_of(stage, stage.dims[-1]) == period


@pytest.mark.parametrize("shape", [(3, 40), (2, 3, 33)])
def test_tiles_are_equal_to_numpy(shape):
    here = targets.detect()
    repeats = (2,) * (len(shape) - 1) + (3,)
    func = function(shape, lambda x: topi.tile(x, repeats))
    data = np.arange(np.prod(shape)).reshape(shape).astype("float32")
    expected = np.tile(data, repeats)
    executable = compiled(scheduled(func, here).mod, here)
    np.testing.assert_array_equal(call(executable, [data], expected.shape, "float32"), expected)


def test_a_single_long_row_is_shared_out():
    """There are fewer rows than threads: the vectors of one are spread over them."""
    target = msgspec.structs.replace(targets.load("x86-64-v3"), cores=4)
    func = function((100_000,), lambda x: topi.tanh(x))
    assert "T.parallel" in scheduled(func, target).mod.script()
