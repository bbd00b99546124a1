"""From the times of kernels' calls to those of the source model's nodes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tvmcomp.model import KernelWork, Operator
from tvmcomp.search.operator_times import of_nodes, operator_times

OPERATORS = (
    Operator("n0_Conv__conv2d", "nn.conv2d", "int8", macs=100),
    Operator("n0_Conv", "add", "int8"),
    Operator("n1_Relu", "nn.relu", "int8"),
    Operator("n2_Add", "add", "float32"),
    Operator("n3_Mul", "multiply", "float32"),
)
KERNELS = (
    KernelWork("conv", "uint8", 100, 10, ((0, 1, 2), (3, 4))),
    KernelWork("copy", "uint8", 0, 10, ((),)),
)


def times(calls: dict[str, list[float]]) -> dict[str, float]:
    metadata: Any = SimpleNamespace(operators=OPERATORS, kernels=KERNELS)
    return operator_times(metadata, calls, 8.0)


def test_calls_count_to_what_multiplies_and_are_scaled_to_the_whole() -> None:
    found = times({"conv": [1.0, 2.0], "copy": [1.0]})
    assert found == {"n0_Conv": 2.0, "n2_Add": 2.0, "n3_Mul": 2.0}
    assert of_nodes(found, ["/0/Conv", "/1/Relu"]) == 2.0


def test_a_kernel_in_a_loop_shares_its_time_among_its_calls() -> None:
    found = times({"conv": [1.0] * 6})
    assert sum(found.values()) == pytest.approx(8.0) and found["n0_Conv"] == pytest.approx(4.0)


def test_factors_of_low_rank_count_to_their_operator() -> None:
    assert of_nodes({"fc_0": 1.0, "fc": 2.0, "fc_2": 4.0}, ["fc"]) == 3.0


def test_nothing_profiled_is_nothing() -> None:
    assert times({}) == {}
