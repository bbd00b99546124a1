"""Bytes that each task widens for itself: convolutions and products of `vpmaddwd`."""

from __future__ import annotations

import dataclasses
import re

import msgspec
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
from tvmcomp.schedules.conv.staged_conv_schedule import Tasks
from tvmcomp.schedules.dot import int8_kernel

V3 = targets.load("x86-64-v3")
#: So little cache that an image is cut up, and the weights too.
SMALL = msgspec.structs.replace(V3, l2_kib=4)
SSE = targets.load("x86-64-v2")


def conv(shape, channels, out_channels, kernel=3, stride=1, groups=1) -> Case:
    half = kernel // 2
    window = Window((kernel,) * 2, (stride,) * 2, (1, 1), ((half, half),) * 2, groups)
    return Case((shape[0],), shape[1:], channels, out_channels, window, ("bias", "relu"))


CASES = {
    "many channels": conv((1, 56, 4), 32, 96),
    "strides": conv((1, 13, 9), 10, 40, stride=2),
    "groups": conv((2, 8, 12), 18, 48, groups=3),
    "batch": conv((5, 6, 6), 16, 64, kernel=1),
    "one number": conv((1, 1, 1), 3, 1, kernel=1),
    "matrix": Case((), (67,), 33, 51, Window((1,), (1,), (1,), ((0, 0),)), ("bias",)),
}


@pytest.mark.parametrize("target", [V3, SMALL, SSE], ids=["whole", "cut", "sse"])
@pytest.mark.parametrize("name", CASES)
def test_equals_numpy_however_it_is_cut(name, target):
    case, kernel = CASES[name], int8_kernel(target)
    func = anchor_function(case, kernel, target)
    arguments, expected = random_arguments(case, kernel, target, np.random.default_rng(0))
    executable = compiled(scheduled(func, target).mod, target)
    actual = call(executable, arguments, case.output, kernel.acc)
    np.testing.assert_array_equal(actual, expected)


def test_the_inner_loop_only_loads_multiplies_and_adds():
    """The data are words already: nothing masks, shifts or spills."""
    case = dataclasses.replace(CASES["many channels"], spatial=(12, 24))
    func = anchor_function(case, int8_kernel(V3), V3)
    code = compiled(scheduled(func, V3).mod, V3).mod.inspect_source("asm")
    bodies = re.split(r"\n\.LBB\w+:.*\n", re.sub(r"\n\.Ltmp\d+:", "", code))
    loop = max((re.split(r"\n\tj", body)[0] for body in bodies), key=lambda b: b.count("vpmaddwd"))
    products = len(re.findall(r"vpmaddwd\s.*ymm", loop))
    assert products >= 8
    assert len(re.findall(r"vpaddd\s.*ymm", loop)) == products
    assert not re.search(r"vps[lr]|vpand|\(%rsp\)|call", loop)


@pytest.mark.parametrize(
    ("tasks", "cores", "parts", "groups"),
    [
        (Tasks(1, 56, 8, 100_000, 30_000), 1, 1, 1),  # all of it stays in half a cache
        (Tasks(1, 56, 8, 400_000, 30_000), 1, 4, 1),  # the image is cut
        (Tasks(1, 7, 32, 90_000, 2_300_000), 1, 1, 1),  # weights pass by once
        (Tasks(4, 7, 32, 90_000, 2_300_000), 1, 1, 32),  # ... and stay for all images
        (Tasks(1, 28, 8, 200_000, 30_000), 4, 2, 2),  # a task for each core
        (Tasks(1, 7, 3, 20_000, 30_000), 4, 1, 3),
    ],
)
def test_tasks(tasks, cores, parts, groups):
    assert tasks.parts(V3) == parts
    assert tasks.groups(parts, cores, V3) == groups
