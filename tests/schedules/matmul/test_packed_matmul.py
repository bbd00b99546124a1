"""Products of 8-bit integers whose right side is packed at run time, over random shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from schedules.anchor_cases import call, compiled, scheduled

from tvmcomp import targets
from tvmcomp.schedules.anchor import Anchor, Window
from tvmcomp.schedules.conv.direct_conv import conv_padding
from tvmcomp.schedules.dot import DotKernel, int8_kernel
from tvmcomp.schedules.matmul.packed_matmul import (
    PackedProduct,
    pack_matrices,
    pack_right,
    packed_matmul,
)
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

te = tvm.te

SINGLE = Window((1,), (1,), (1,), ((0, 0),))
TARGETS = ("x86-64-v3", "cascadelake")

few = settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # Shrinking would compile for minutes.
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Case:
    """The shapes of the operands, and whether a bias follows."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    bias: bool = True


@st.composite
def cases(draw: st.DrawFn) -> Case:
    batch = draw(st.lists(st.integers(1, 3), max_size=2))
    rows, depth, columns = (draw(st.integers(1, most)) for most in (17, 40, 40))

    def of_batch() -> list[int]:
        """The batch, or what broadcasts to it."""
        own = [size if draw(st.booleans()) else 1 for size in batch]
        return own[draw(st.integers(0, len(own))) :]

    left = (*batch, rows, depth)
    return Case(left, (*of_batch(), depth, columns), draw(st.booleans()))


def padding(case: Case, kernel: DotKernel, target: TargetDescription) -> Any:
    return conv_padding(Anchor(case.left, SINGLE, case.right[-1]), kernel, target)


def product(case: Case) -> PackedProduct:
    *left, rows, depth = case.left
    return PackedProduct(tuple(left), case.right[:-2], rows, case.right[-1], depth)


def product_function(case: Case, kernel: DotKernel, target: TargetDescription) -> Any:
    widths = padding(case, kernel, target)
    padded = [size + sum(pair) for size, pair in zip(case.left, widths, strict=True)]
    left = te.placeholder(padded, kernel.data, "left")
    shape = pack_matrices(np.zeros(case.right, kernel.weight), kernel).shape
    packed = te.placeholder(shape, kernel.weight, "packed")
    result = packed_matmul(left, packed, product(case), kernel)
    if not case.bias:
        return te.create_prim_func([left, packed, result])
    bias = te.placeholder(case.right[-1:], kernel.acc, "bias")
    total = te.compute(result.shape, lambda *i: result[i] + bias[i[-1]], name="total")
    return te.create_prim_func([left, packed, bias, total])


@pytest.mark.parametrize("name", TARGETS)
def test_equals_numpy(name):
    target = targets.load(name)
    if reason := targets.runs_here(target):
        pytest.skip(reason)
    kernel = int8_kernel(target)

    @few
    @given(cases())
    @example(Case((3, 7, 33), (1, 33, 17)))
    @example(Case((2, 5, 8), (2, 8, 1), bias=False))
    def run(case: Case) -> None:
        rng = np.random.default_rng(0)
        left = rng.integers(0, 256, case.left).astype(kernel.data)
        right = rng.integers(-128, 128, case.right).astype(kernel.weight)
        expected = np.matmul(left.astype(np.int64), right.astype(np.int64))
        arguments = [np.pad(left, padding(case, kernel, target)), pack_matrices(right, kernel)]
        if case.bias:
            arguments.append(rng.integers(-9, 9, case.right[-1]).astype(kernel.acc))
            expected = expected + arguments[-1]
        func = product_function(case, kernel, target)
        executable = compiled(scheduled(func, target).mod, target)
        actual = call(executable, arguments, expected.shape, kernel.acc)
        np.testing.assert_array_equal(actual, expected)

    run()


@pytest.mark.parametrize("shape", [(8, 32), (2, 3, 33, 17), (1, 5, 1)])
def test_packing_at_run_time_is_packing_of_a_constant(shape):
    target = targets.detect()
    kernel = int8_kernel(target)
    right = np.random.default_rng(0).integers(-128, 128, shape).astype("int8")
    tensor = te.placeholder(shape, "int8", "right")
    func = te.create_prim_func([tensor, pack_right(tensor, kernel)])
    expected = pack_matrices(right, kernel)
    executable = compiled(scheduled(func, target).mod, target)
    actual = call(executable, [right], expected.shape, "int8")
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("sapphirerapids", "vpdpbusd"),
        ("alderlake", "vpdpbusd"),
        ("x86-64-v3", "vpmaddwd"),
        ("rpi4", "sadalp"),
        ("rpi5", "sdot"),
        ("graviton3", "smmla"),
        ("armv7", "vmlal"),
    ],
)
def test_the_instruction_is_in_the_kernel(name, instruction):
    target = targets.load(name)
    func = product_function(Case((2, 8, 40), (2, 40, 33)), int8_kernel(target), target)
    code = compiled(scheduled(func, target).mod, target).mod.inspect_source("asm")
    assert code.count(instruction) >= 8
