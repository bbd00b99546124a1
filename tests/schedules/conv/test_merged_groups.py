"""Groups of more channels than a tile has: accumulators stay in registers all the same."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from schedules.anchor_cases import (
    Case,
    anchor_function,
    call,
    compiled,
    random_arguments,
    scheduled,
)

from tvmcomp import targets
from tvmcomp.schedules.anchor import Window
from tvmcomp.schedules.dot import float_kernel, int8_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

V3, V4 = targets.load("x86-64-v3"), targets.load("x86-64-v4")
#: Twice the registers of any target, in numbers of 32 bits.
MOST_ACCUMULATORS = 1024
KERNELS = {"float32": float_kernel, "int8": int8_kernel}


def grouped(spatial, groups: int, inputs: int, outputs: int, lead: int = 1) -> Case:
    rank = len(spatial)
    window = Window((3,) * rank, (1,) * rank, (1,) * rank, ((1, 1),) * rank, groups)
    return Case((lead,), spatial, groups * inputs, groups * outputs, window, ("bias", "relu"))


CASES = {
    "two groups": grouped((5, 12), 2, 8, 128),
    "four groups, batch": grouped((4, 8), 4, 4, 192, lead=2),
    "as many groups as rows": grouped((4, 4), 4, 8, 128),
    "a signal": grouped((24,), 2, 8, 128),
    "a volume": grouped((3, 3, 8), 2, 4, 96),
    "cropped channels": grouped((5, 12), 2, 8, 200),
    "cropped pixels": grouped((5, 13), 2, 8, 128),
}


def accumulators(func: object) -> int:
    """Elements of the array that the sums are kept in."""
    compact = tvm.transform.Sequential(
        [
            tvm.s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            tvm.s_tir.transform.ConvertBlocksToOpaque(),
            tvm.s_tir.transform.CompactBufferAllocation(True),
        ]
    )
    text = compact(tvm.IRModule({"main": func})).script().replace("T.int64", "")
    found = re.findall(
        r"alloc_buffer\(\((.*?)\)(?:, \"\w+\")?, scope=\"local\"", text.replace("T.int64", "")
    )
    assert found
    return max(math.prod(int(size) for size in re.findall(r"\d+", shape)) for shape in found)


@pytest.mark.parametrize("target", [V3, V4], ids=lambda target: target.name)
@pytest.mark.parametrize("dtype", KERNELS)
@pytest.mark.parametrize("name", CASES)
def test_sums_stay_in_registers(name: str, dtype: str, target: TargetDescription) -> None:
    kernel = KERNELS[dtype](target)
    func = scheduled(anchor_function(CASES[name], kernel, target), target).mod["main"]
    assert accumulators(func) <= MOST_ACCUMULATORS


@pytest.mark.parametrize("dtype", KERNELS)
@pytest.mark.parametrize("name", CASES)
def test_equals_numpy(name: str, dtype: str) -> None:
    case, kernel = CASES[name], KERNELS[dtype](V3)
    func = anchor_function(case, kernel, V3)
    arguments, expected = random_arguments(case, kernel, V3, np.random.default_rng(0))
    executable = compiled(scheduled(func, V3).mod, V3)
    actual = call(executable, arguments, case.output, kernel.acc)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-4)
