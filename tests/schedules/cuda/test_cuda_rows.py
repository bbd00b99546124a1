"""Rows, windows and element-wise chains on a GPU, run on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from cuda_cases import Answers, close, computed, random
from slow_variants import first_and_slow

from tvmcomp import targets
from tvmcomp.schedules.cuda import schedule_kernel
from tvmcomp.tvm_import import tvm

te, topi = tvm.te, tvm.topi


@pytest.mark.parametrize("threads", [32, 128])
@pytest.mark.parametrize("shape", first_and_slow((2, 3, 100), (3, 300), (5, 8)))
def test_softmax(shape: tuple[int, ...], threads: int) -> None:
    x = te.placeholder(shape, "float32", name="x")
    data = random(shape, "float32", 0)
    decide = Answers(row_threads=threads)
    found = computed([x, topi.nn.softmax(x, axis=-1)], [data], decide=decide, kind="rows")
    wide = np.exp(data.astype(np.float64))
    close(found, wide / wide.sum(-1, keepdims=True))


@pytest.mark.parametrize("seed", first_and_slow(*range(12)))
def test_softmax_along_some_axis(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice((1, 2, 3, 5, 7, 9, 33, 130), rng.integers(2, 5)))
    axis = int(rng.integers(len(shape)))
    x = te.placeholder(shape, "float32", name="x")
    bias = te.placeholder(shape[1:], "float32", name="bias")
    arrays = [random(each.shape, "float32", seed) for each in (x, bias)]
    result = topi.nn.softmax(topi.add(x, bias), axis=axis)
    # One of one element is a copy.
    kind = "rows" if shape[axis] > 1 else None
    found = computed([x, bias, result], arrays, kind=kind)
    wide = np.exp((arrays[0] + arrays[1]).astype(np.float64))
    close(found, wide / wide.sum(axis, keepdims=True))


@pytest.mark.parametrize(
    ("shape", "axis", "threads"),
    [
        ((64, 5), 1, 1),
        ((4, 21, 40, 40), 1, 1),
        ((2, 196, 3), 1, 1),
        ((1, 2000, 3), 1, 256),
        ((64, 20), 1, 32),
        ((64, 1000), 1, 128),
    ],
)
def test_how_many_threads_have_a_row(shape: tuple[int, ...], axis: int, threads: int) -> None:
    x = te.placeholder(shape, "float32", name="x")
    func = te.create_prim_func([x, topi.nn.softmax(x, axis=axis)])
    asked = []

    def decide(sch: Any, name: str, candidates: Sequence[int], best_guess: int) -> int:
        asked.append((name, best_guess))
        return best_guess

    assert schedule_kernel(func, targets.load("h100"), decide) is not None
    assert asked == [("row_threads", threads)]


def test_normalization_over_channels_that_come_first() -> None:
    x = te.placeholder((2, 12, 5, 7), "float32", name="x")
    mean = topi.divide(topi.sum(x, axis=1, keepdims=True), 12.0)
    centred = topi.subtract(x, mean)
    variance = topi.divide(topi.sum(topi.multiply(centred, centred), 1, keepdims=True), 12.0)
    result = topi.multiply(centred, topi.rsqrt(topi.add(variance, 1e-5)))
    data = random((2, 12, 5, 7), "float32", 0)
    wide = data.astype(np.float64)
    expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    close(computed([x, result], [data], kind="rows"), expected)


def test_layer_normalization() -> None:
    x = te.placeholder((6, 70), "float32", name="x")
    scale, shift = (te.placeholder((70,), "float32", name=name) for name in ("scale", "shift"))
    result = topi.nn.layer_norm(x, scale, shift, [1], 1e-5)
    arrays = [random(shape, "float32", i) for i, shape in enumerate(((6, 70), (70,), (70,)))]
    found = computed([x, scale, shift, result], arrays, kind="rows")
    wide = arrays[0].astype(np.float64)
    centred = wide - wide.mean(1, keepdims=True)
    deviation = np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    close(found, centred / deviation * arrays[1] + arrays[2])


def test_a_sum_that_is_the_result() -> None:
    x = te.placeholder((4, 1000), "float32", name="x")
    data = random((4, 1000), "float32", 0)
    found = computed([x, topi.sum(x, axis=1)], [data], kind="rows")
    close(found, data.astype(np.float64).sum(1))


@pytest.mark.parametrize("together", [1, 4])
def test_pooling(together: int) -> None:
    x = te.placeholder((1, 9, 9, 12), "int8", name="x")
    pooled = topi.nn.pool2d(
        x, [3, 3], [2, 2], [1, 1], [1, 1, 1, 1], "max", ceil_mode=False, layout="NHWC"
    )
    data = random((1, 9, 9, 12), "int8", 0)
    found = computed([x, pooled], [data], decide=Answers(together=together), kind="window")
    padded = np.pad(data, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-128)
    parts = [padded[:, i : i + 9 : 2, j : j + 9 : 2] for i in range(3) for j in range(3)]
    close(found, np.max(parts, axis=0))


def test_an_average_over_pixels() -> None:
    x = te.placeholder((2, 7, 7, 40), "float32", name="x")
    result = topi.divide(topi.sum(x, axis=[1, 2]), tvm.tirx.const(49.0, "float32"))
    data = random((2, 7, 7, 40), "float32", 0)
    found = computed([x, result], [data], kind="window")
    close(found, data.astype(np.float64).mean((1, 2)))


@pytest.mark.parametrize("shape", [(3, 40), (1, 5, 7), (1, 1)])
def test_a_chain_of_element_wise_operators(shape: tuple[int, ...]) -> None:
    x, y = (te.placeholder(shape, "float32", name=name) for name in "xy")
    result = topi.multiply(topi.sigmoid(topi.add(x, y)), x)
    arrays = [random(shape, "float32", i) for i in range(2)]
    found = computed([x, y, result], arrays, kind="elementwise")
    wide = [array.astype(np.float64) for array in arrays]
    close(found, wide[0] / (1 + np.exp(-wide[0] - wide[1])))


def test_a_transpose() -> None:
    x = te.placeholder((6, 5, 8), "int8", name="x")
    data = random((6, 5, 8), "int8", 0)
    found = computed([x, topi.transpose(x, (2, 0, 1))], [data], kind="elementwise")
    close(found, data.transpose(2, 0, 1))
