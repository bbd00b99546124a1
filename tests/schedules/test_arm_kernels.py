"""The ARM kernels, run on the emulated board on random geometries: equal to numpy, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schedules.anchor_cases import (
    DEPTHWISE,
    Case,
    anchor_function,
    compiled,
    convolutions,
    matmuls,
    random_arguments,
    scheduled,
)

from tvmcomp import targets
from tvmcomp.codegen.toolchain import link_function
from tvmcomp.schedules import Decide, analytic
from tvmcomp.schedules.anchor import Window
from tvmcomp.schedules.dot import DotKernel, bfloat16_kernel, float_kernel, int8_kernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm


def conv2d(channels: int, out_channels: int, width: int = 7, **changes: Any) -> Case:
    window = {"kernel": (3, 3), "strides": (1, 1), "dilation": (1, 1), "padding": ((1, 1), (1, 1))}
    return Case((1,), (5, width), channels, out_channels, Window(**{**window, **changes}))


def matmul(rows: int, channels: int, out_channels: int) -> Case:
    return Case((), (rows,), channels, out_channels, Window((1,), (1,), (1,), ((0, 0),)))


#: Where a vector of data feeds 1, 2 and 4 steps, and where blocks, pairs and groups end unevenly.
CASES = (
    conv2d(3, 8, strides=(2, 2)),
    conv2d(16, 24, width=14),
    conv2d(24, 9, dilation=(2, 2)),
    conv2d(12, 6, width=1),
    conv2d(1, 1),
    conv2d(13, 5, width=11),
    conv2d(48, 32, width=13, kernel=(1, 1), padding=((0, 0), (0, 0)), strides=(2, 2)),
    conv2d(32, 12, groups=2),
    conv2d(6, 10, groups=2, strides=(1, 2)),
    conv2d(27, 45, groups=3),
    matmul(1, 64, 40),
    matmul(7, 40, 33),
    matmul(16, 8, 6),
)


def _kernels() -> Iterator[tuple[str, TargetDescription, DotKernel]]:
    for name in ("rpi4", "rpi5", "graviton3"):
        target = targets.load(name)
        yield f"{name} float32", target, float_kernel(target)
        yield f"{name} int8", target, int8_kernel(target)
        if target.dot_product == "i8mm":
            yield f"{name} int8, row of one", target, int8_kernel(target, row=1)
        half = bfloat16_kernel(target)
        if half is not None:
            yield f"{name} bfloat16", target, half


KERNELS = {name: (target, kernel) for name, target, kernel in _kernels()}
INTEGER_OR_FLOAT32 = sorted(name for name in KERNELS if "bfloat16" not in name)


def check(
    cases: list[Case], name: str, board: Any, folder: Path, decide: Decide = analytic
) -> None:
    """All of ``cases`` in one library: what the board computes is what numpy does."""
    target, kernel = KERNELS[name]
    functions = {}
    for i, case in enumerate(cases):
        func = scheduled(anchor_function(case, kernel, target), target, decide).mod["main"]
        functions[f"case_{i}"] = func.with_attr("global_symbol", f"case_{i}")
    library = folder / "kernels.so"
    executable = compiled(tvm.IRModule(functions), target)
    executable.export_library(str(library), fcompile=link_function(target))
    session = tvm.rpc.connect("127.0.0.1", board.port, session_timeout=60)
    session.upload(str(library))
    module = session.load_module(library.name)
    device = session.cpu(0)
    for i, case in enumerate(cases):
        arguments, expected = random_arguments(case, kernel, target, np.random.default_rng(i))
        out = tvm.runtime.tensor(np.full(case.output, 77, kernel.acc), device)
        there = [tvm.runtime.tensor(np.ascontiguousarray(a), device) for a in arguments]
        module[f"case_{i}"](*there, out)
        np.testing.assert_array_equal(out.numpy(), expected, err_msg=str(case))


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "graviton3 float32" else ())
        for name in KERNELS
    ],
)
def test_chosen_geometries(name, board, tmp_path):
    check([*CASES, *DEPTHWISE], name, board, tmp_path)


@pytest.mark.parametrize("name", INTEGER_OR_FLOAT32)
def test_random_geometries(name, board, tmp_path):
    anchors = st.one_of(convolutions(unsigned=False), matmuls())

    @settings(
        max_examples=3,  # The first is the simplest.
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(anchors, min_size=10, max_size=10))
    def run(cases: list[Case]) -> None:
        check(cases, name, board, tmp_path)

    run()


@pytest.mark.parametrize("turn", [1, 4])
@pytest.mark.parametrize("name", INTEGER_OR_FLOAT32)
def test_other_choices_of_the_tuner(name, turn, board, tmp_path):
    def decide(sch: Any, name: str, candidates: Any, best_guess: int) -> int:
        return candidates[turn % len(candidates)]

    check([conv2d(24, 24, width=12), matmul(12, 24, 16)], name, board, tmp_path, decide)
