"""Convolutions as matrix products whose elements are read where they are, run on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_cases import Answers, close, computed, convolution, convolved, random
from slow_variants import first_and_slow

from tvmcomp.tvm_import import tvm

te, topi = tvm.te, tvm.topi

#: Shape of the data, output channels, window; strides, padding, dilation.
CASES: list[tuple[Any, int, Any, dict[str, Any]]] = [
    ((1, 9, 7, 16), 24, (3, 3), {"padding": (1, 1, 1, 1)}),
    ((2, 8, 8, 8), 33, (3, 3), {"strides": (2, 2), "padding": (0, 0, 1, 1)}),
    ((1, 10, 11, 32), 16, (3, 2), {"dilation": (2, 3), "padding": (2, 0, 1, 3)}),
    ((1, 8, 9, 3), 16, (5, 5), {"strides": (2, 2), "padding": (2, 2, 2, 2)}),
    ((2, 5, 5, 20), 12, (1, 1), {"strides": (2, 1)}),
]


@pytest.mark.parametrize("dtype", first_and_slow("int8", "float16"))
@pytest.mark.parametrize(("shape", "out", "kernel", "how"), CASES)
def test_a_convolution(shape: Any, out: int, kernel: Any, how: dict[str, Any], dtype: str) -> None:
    tensors = convolution(shape, out, kernel, dtype, **how)
    data, weight = (random(tensors[i].shape, dtype, i) for i in range(2))
    found = computed(tensors, [data, weight])
    close(found, convolved(data, weight, **how))


def test_a_border_of_the_zero_point() -> None:
    how: dict[str, Any] = {"padding": (1, 1, 1, 1), "border": -7}
    tensors = convolution((1, 6, 6, 16), 16, (3, 3), "int8", **how)
    data, weight = (random(tensors[i].shape, "int8", i) for i in range(2))
    decide = Answers(tile=6, splits=2)
    found = computed(tensors, [data, weight], decide=decide, kind="conv")
    close(found, convolved(data, weight, **how))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("channels", first_and_slow(16, 9))
def test_depthwise(channels: int, dtype: str) -> None:
    how: dict[str, Any] = {"padding": (1, 1, 1, 1), "strides": (2, 1), "groups": channels}
    shape = (1, 6, 7, channels)
    tensors = convolution(shape, channels, (3, 3), dtype, layout="HWIO", **how)
    data, weight = (random(tensors[i].shape, dtype, i) for i in range(2))
    found = computed(tensors, [data, weight], decide=Answers(together=1), kind="window")
    close(found, convolved(data, weight.transpose(3, 0, 1, 2), **how))


@pytest.mark.parametrize(("out", "kind"), [(12, "window"), (40, "conv")])
def test_groups(out: int, kind: str) -> None:
    how: dict[str, Any] = {"padding": (1, 1, 1, 1), "groups": 2}
    tensors = convolution((1, 5, 5, 8), out, (3, 3), "int8", **how)
    data, weight = (random(tensors[i].shape, "int8", i) for i in range(2))
    found = computed(tensors, [data, weight], decide=Answers(together=2), kind=kind)
    close(found, convolved(data, weight, **how))


@pytest.mark.parametrize("splits", [1, 2])
def test_a_gate_that_is_multiplied_into_an_image(splits: int) -> None:
    data, weight, gate = convolution((1, 1, 1, 32), 20, (1, 1), "float16")
    image = te.placeholder((1, 3, 5, 20), "float32", name="image")
    tensors = [data, weight, image, topi.multiply(topi.sigmoid(gate), image)]
    dtypes = ("float16", "float16", "float32")
    arrays = [random(tensors[i].shape, dtype, i) for i, dtype in enumerate(dtypes)]
    found = computed(tensors, arrays, decide=Answers(splits=splits, depth=32), kind="gemm")
    gates = convolved(arrays[0], arrays[1])
    close(found, arrays[2] / (1 + np.exp(-gates)))
