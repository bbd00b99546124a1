"""Shapes, strides, padding, groups, types and cuts at random: every point of the space is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_cases import Answers, close, computed, convolution, convolved, matmul, product_of, random

from tvmcomp.schedules.cuda.tile import DEPTHS, SPLITS, STAGES, TILES

MARKS = [pytest.mark.slow, pytest.mark.ci]
#: The first; CI runs some more, `make test-slow` all.
SEEDS = [0, *(pytest.param(seed, marks=MARKS[: 1 + (seed < 8)]) for seed in range(1, 40))]
DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32")


def cut(rng: np.random.Generator) -> Answers:
    """A point of the design space; it may be an impossible one."""
    return Answers(
        tile=int(rng.integers(len(TILES))),
        depth=int(rng.choice(DEPTHS)),
        stages=int(rng.choice(STAGES)),
        splits=int(rng.choice(SPLITS, p=(0.5, 0.2, 0.1, 0.1, 0.1))),
        together=1,
    )


def some_convolution(rng: np.random.Generator, dtype: str) -> tuple[list[Any], dict[str, Any]]:
    groups = int(rng.choice((1, 1, 2, 3)))
    kernel = [int(n) for n in rng.integers(1, 4, 2)]
    dilation = [int(n) for n in rng.integers(1, 3, 2)]
    padding = [int(n) for n in rng.integers(0, 3, 4)]
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [n + int(rng.integers(0, 8)) for n in least]
    how: dict[str, Any] = {
        "strides": [int(n) for n in rng.integers(1, 4, 2)],
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "border": int(rng.choice((0, 3))) if rng.integers(2) else None,
    }
    channels = groups * int(rng.choice((1, 3, 4, 8, 16, 20)))
    out = groups * int(rng.choice((1, 5, 16, 24, 33)))
    shape = (int(rng.integers(1, 3)), *size, channels)
    return convolution(shape, out, (kernel[0], kernel[1]), dtype, **how), how


@pytest.mark.parametrize("seed", SEEDS)
def test_some_convolution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(DTYPES))
    tensors, how = some_convolution(rng, dtype)
    data, weight = (random(tensors[i].shape, dtype, i) for i in range(2))
    answers = cut(rng)
    try:
        found = computed(tensors, [data, weight], decide=answers)
    except ValueError:
        found = computed(tensors, [data, weight], decide=Answers(together=1))
    close(found, convolved(data, weight, **how))


@pytest.mark.parametrize("seed", SEEDS)
def test_some_product(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(DTYPES))
    batch = ((), (3,), (2, 2))[int(rng.integers(3))]
    rows, columns, depth = (int(n) for n in rng.integers(1, 90, 3))
    columns, depth = (n - n % int(rng.choice((1, 4, 16))) or 16 for n in (columns, depth + 1))
    by_column = bool(rng.integers(2))
    tensors = matmul(batch, rows, columns, depth, dtype, by_column)
    left, right = (random(tensors[i].shape, dtype, i) for i in range(2))
    answers = cut(rng)
    try:
        found = computed(tensors, [left, right], decide=answers)
    except ValueError:
        found = computed(tensors, [left, right])
    close(found, product_of(left, right, by_column))
