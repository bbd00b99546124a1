"""Matrix products on tensor cores, run on the CPU: tails, types, layouts, epilogues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from cuda_cases import Answers, close, computed, matmul, product_of, random
from slow_variants import first_and_slow

from tvmcomp import targets
from tvmcomp.schedules.cuda import schedule_kernel
from tvmcomp.tvm_import import tvm

te, topi = tvm.te, tvm.topi


@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize(
    ("dtype", "sizes"),
    [
        ("float16", (33, 40, 72)),
        ("bfloat16", (16, 32, 64)),
        ("int8", (17, 36, 80)),
        ("uint8", (5, 9, 33)),
        ("float32", (18, 33, 20)),
    ],
)
def test_a_product_with_tails(dtype: str, sizes: tuple[int, int, int], by_column: bool) -> None:
    tensors = matmul((), *sizes, dtype, by_column)
    left, right = (random(tensors[i].shape, dtype, i) for i in range(2))
    found = computed(tensors, [left, right], kind="gemm")
    close(found, product_of(left, right, by_column))


@pytest.mark.parametrize("tile", first_and_slow(*range(10)))
def test_every_tile(tile: int) -> None:
    tensors = matmul((), 70, 72, 96, "float16", False)
    left, right = (random(tensors[i].shape, "float16", i) for i in range(2))
    found = computed(tensors, [left, right], decide=Answers(tile=tile, stages=2))
    close(found, product_of(left, right, False))


@pytest.mark.parametrize("cut", first_and_slow((32, 5), (64, 4), (128, 2)))
@pytest.mark.parametrize("by_column", first_and_slow(False, True))
def test_every_depth_and_number_of_stages(cut: tuple[int, int], by_column: bool) -> None:
    depth, stages = cut
    tensors = matmul((), 32, 32, 200, "float16", by_column)
    left, right = (random(tensors[i].shape, "float16", i) for i in range(2))
    decide = Answers(tile=6, depth=depth, stages=stages)
    close(computed(tensors, [left, right], decide=decide), product_of(left, right, by_column))


@pytest.mark.parametrize("columns", first_and_slow(30, 32))
@pytest.mark.parametrize("splits", first_and_slow(2, 8))
def test_blocks_share_the_depth(splits: int, columns: int) -> None:
    tensors = matmul((2,), 20, columns, 272, "int8", True)
    left, right = (random(tensors[i].shape, "int8", i) for i in range(2))
    decide = Answers(tile=6, depth=32, splits=splits)
    found = computed(tensors, [left, right], decide=decide, kind="batched_gemm")
    close(found, product_of(left, right, True))


def test_what_follows_is_part_of_the_kernel() -> None:
    bias = te.placeholder((40,), "float32", name="bias")
    other = te.placeholder((33, 40), "float32", name="other")

    def epilogue(product: Any) -> Any:
        added = topi.add(topi.add(product, bias), other)
        return topi.nn.relu(added)

    left, right, result = matmul((), 33, 40, 64, "float16", True, epilogue)
    shapes = [(t.shape, str(t.dtype)) for t in (left, right, bias, other)]
    arrays = [random([int(n) for n in shape], dtype, i) for i, (shape, dtype) in enumerate(shapes)]
    found = computed([left, right, bias, other, result], arrays)
    sums = product_of(arrays[0], arrays[1], True)
    close(found, np.maximum(sums + arrays[2] + arrays[3], 0))


def test_other_processors_run_the_same_kernel() -> None:
    tensors = matmul((3,), 17, 24, 40, "float16", False)
    left, right = (random(tensors[i].shape, "float16", i) for i in range(2))
    found = computed(tensors, [left, right], target="jetson-orin", kind="batched_gemm")
    close(found, product_of(left, right, False))


@pytest.mark.parametrize(("target", "stages"), [("t4", 2), ("a100", 3)])
def test_copies_run_ahead_where_they_are_asynchronous(target: str, stages: int) -> None:
    asked = {}

    def decide(sch: Any, name: str, candidates: Sequence[int], best_guess: int) -> int:
        asked[name] = best_guess
        return best_guess

    func = te.create_prim_func(matmul((), 64, 64, 256, "int8", True))
    assert schedule_kernel(func, targets.load(target), decide) is not None
    assert asked["stages"] == stages
