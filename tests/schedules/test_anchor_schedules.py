"""Every dot-product kernel that this machine runs, on random geometries, equals numpy exactly."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from schedules.anchor_cases import (
    DEPTHWISE,
    Case,
    anchor_function,
    anchor_tensors,
    call,
    compiled,
    convolutions,
    matmuls,
    random_arguments,
    scheduled,
)
from schedules.design_points import every_kernel

from tvmcomp import targets
from tvmcomp.schedules import design_space
from tvmcomp.schedules.anchor import Window
from tvmcomp.schedules.dot import (
    DotKernel,
    bfloat16_kernel,
    float_kernel,
    int8_kernel,
    plain_kernel,
)
from tvmcomp.targets import TargetDescription
from tvmcomp.tuning.space import point
from tvmcomp.tuning.task import normalize
from tvmcomp.tuning.trace import apply_trace
from tvmcomp.tvm_import import tvm

V3 = targets.load("x86-64-v3")
V4 = targets.load("x86-64-v4")
VNNI = targets.load("cascadelake")
#: The 256-bit form of VNNI: ``vpdpbusd`` on 8 lanes.
VNNI_256 = msgspec.structs.replace(VNNI, dot_product="avx_vnni", vector_bits=256)
BF16 = msgspec.structs.replace(V4, features=("avx512bf16",), bfloat16=True)
GENERIC = msgspec.structs.replace(V3, dot_product="generic")

KERNELS: dict[str, tuple[TargetDescription, DotKernel]] = {
    "float32_8": (V3, float_kernel(V3)),
    "float32_16": (V4, float_kernel(V4)),
    "float16_16": (V4, float_kernel(V4, "float16")),
    "bfloat16_16": (V4, float_kernel(V4, "uint16")),
    "vdpbf16ps_16": (BF16, bfloat16_kernel(BF16)),
    "float64_4": (V3, plain_kernel(V3, "float64")),
    "float64_8": (V4, plain_kernel(V4, "float64")),
    "int32_16": (V4, plain_kernel(V4, "int32")),
    "int64_4": (V3, plain_kernel(V3, "int64")),
    "generic_8": (GENERIC, int8_kernel(GENERIC)),
    "vpmaddwd_8": (V3, int8_kernel(V3)),
    "vpmaddwd_16": (V4, int8_kernel(V4)),
    "vpdpbusd_8": (VNNI_256, int8_kernel(VNNI_256)),
    "vpdpbusd_16": (VNNI, int8_kernel(VNNI)),
}

few = settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # Shrinking would compile for minutes.
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(params=KERNELS)
def kernel_on(request: Any) -> tuple[TargetDescription, DotKernel]:
    target, kernel = KERNELS[request.param]
    reason = targets.runs_here(target)
    if reason:
        pytest.skip(reason)
    return target, kernel


def check(case: Case, target: TargetDescription, kernel: DotKernel) -> None:
    func = anchor_function(case, kernel, target)
    arguments, expected = random_arguments(case, kernel, target, np.random.default_rng(0))
    executable = compiled(scheduled(func, target).mod, target)
    actual = call(executable, arguments, case.output, kernel.acc)
    np.testing.assert_array_equal(actual, expected)


def conv2d(channels: int, out_channels: int, size: int = 7, **changes: Any) -> Case:
    window = Window((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), **changes)
    return Case((1,), (size, size), channels, out_channels, window)


def test_convolution(kernel_on):
    target, kernel = kernel_on

    @few
    @given(convolutions(unsigned=kernel.data == "uint8"))
    @example(conv2d(6, 8, groups=2))  # 3 channels a group: no whole instruction of int8
    @example(conv2d(5, 10, groups=5))  # a channel multiplier of 2
    @example(conv2d(27, 45, groups=3))  # a group ends inside a vector
    @example(conv2d(1, 1, groups=1))
    @example(conv2d(6, 2 * 53, groups=2))  # vectors in a prime number
    def run(case: Case) -> None:
        check(case, target, kernel)

    run()


def test_depthwise_convolution(kernel_on):
    target, kernel = kernel_on

    @few
    @given(convolutions(unsigned=kernel.data == "uint8", depthwise=True))
    def run(case: Case) -> None:
        check(case, target, kernel)

    run()
    for case in DEPTHWISE:
        check(case, target, kernel)


def test_matrix_product(kernel_on):
    target, kernel = kernel_on

    @few
    @given(matmuls())
    def run(case: Case) -> None:
        check(case, target, kernel)

    run()


@pytest.mark.parametrize("depthwise", [False, True])
def test_a_gate_multiplied_into_a_whole_image(depthwise):
    """What follows an anchor in another shape is a loop nest of its own (squeeze and excite)."""
    te, kernel = tvm.te, float_kernel(V3)
    window = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), groups=24 if depthwise else 1)
    case = Case((1,), (1, 1), 24, 24, window, ("bias", "relu"), depthwise)
    arguments, gate = random_arguments(case, kernel, V3, np.random.default_rng(0))
    image = np.random.default_rng(1).integers(-9, 10, (1, 5, 6, 24)).astype(np.float32)
    inputs, value = anchor_tensors(case, kernel, V3)
    whole = te.placeholder(image.shape, "float32", "image")
    gated = te.compute(image.shape, lambda n, y, x, c: whole[n, y, x, c] * value[n, 0, 0, c])
    func = te.create_prim_func([*inputs, whole, gated])
    executable = compiled(scheduled(func, V3).mod, V3)
    actual = call(executable, [*arguments, image], image.shape, "float32")
    np.testing.assert_array_equal(actual, image * gate)


def test_a_group_writes_nothing_of_the_next_group():
    """Groups are computed in parallel: 15 channels in two vectors of 8 must not become 16.

    A race shows in few runs, so the writes are counted instead.
    """
    case = dataclasses.replace(conv2d(27, 45, groups=3), epilogue=("scale",))
    schedule = scheduled(anchor_function(case, float_kernel(V3), V3), V3)
    loops = schedule.get_loops(schedule.get_sblock("scale"))
    assert np.prod([int(schedule.get(loop).extent) for loop in loops]) == np.prod(case.output)


@pytest.mark.parametrize("kernel", [float_kernel(V3), int8_kernel(V3)], ids=["float", "int8"])
def test_weights_that_fill_the_cache_stay_for_a_whole_batch(kernel):
    """All images go through a block of channels: that is the outermost loop."""
    small = msgspec.structs.replace(V3, l2_kib=1)
    case = dataclasses.replace(conv2d(16, 96, size=4), lead=(5,), epilogue=("bias", "relu"))
    check(case, small, kernel)
    if kernel.acc != "float32":
        return  # int8 without VNNI widens its bytes first, in a schedule whose names tell nothing
    for target, outermost in ((small, "i3"), (V3, "i0")):  # channels, images
        schedule = scheduled(anchor_function(case, kernel, target), target)
        loop = schedule.get_loops(schedule.get_sblock("relu"))[0]
        assert str(schedule.get(loop).loop_var.name).startswith(outermost)


def test_a_row_that_leaves_the_cache_goes_through_all_channels_at_once():
    """Of a long signal, every block of samples does: the channels are the loop inside."""
    window = Window((3,), (1,), (1,), ((1, 1),), groups=1)
    case = Case((1,), (300,), 8, 32, window, ("bias", "relu"))
    kernel, small = float_kernel(V3), msgspec.structs.replace(V3, l2_kib=4)
    check(case, small, kernel)
    for target, inside in ((small, "i2"), (V3, "i1")):  # channels, samples
        schedule = scheduled(anchor_function(case, kernel, target), target)
        loop = schedule.get_loops(schedule.get_sblock("relu"))[1]
        assert str(schedule.get(loop).loop_var.name).startswith(inside)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    "name", ["float32_8", "bfloat16_16", "vdpbf16ps_16", "vpdpbusd_16", "vpmaddwd_8"]
)
@pytest.mark.parametrize("anchor", ["convolution", "depthwise", "grouped"])
def test_every_draw_of_the_design_space_gives_the_same_numbers(name, anchor):
    """Each candidate of the tuner, replayed from its trace as a build does."""
    target, kernel = KERNELS[name]
    reason = targets.runs_here(target)
    if reason:
        pytest.skip(reason)
    groups = {"convolution": 1, "depthwise": 24, "grouped": 2}[anchor]
    case = conv2d(24, 24, groups=groups)
    case = dataclasses.replace(case, epilogue=("bias", "relu"), depthwise=anchor == "depthwise")
    func = normalize(anchor_function(case, kernel, target))
    arguments, expected = random_arguments(case, kernel, target, np.random.default_rng(0))
    candidates = every_kernel(design_space(target), func)
    assert len(candidates) > 1
    for candidate in candidates[:: len(candidates) // 6 + 1]:
        replayed = apply_trace(json.loads(json.dumps(candidate.trace)), func)
        actual = call(compiled(replayed.mod, target), arguments, case.output, kernel.acc)
        np.testing.assert_array_equal(actual, expected)


def test_the_design_space_leaves_other_functions_alone():
    func = tvm.te.create_prim_func(
        [x := tvm.te.placeholder((8,), name="x"), tvm.te.compute((8,), lambda i: x[i] + 1.0)]
    )
    assert point(design_space(V3), func) is None
