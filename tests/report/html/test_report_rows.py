"""Times of kernel calls as those of operators, and of kernels beside their roofs."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from small_artifacts import dense_artifact

from tvmcomp.artifact.metadata import Metadata
from tvmcomp.model import KernelWork, Operator
from tvmcomp.report.html.chosen import Format, Table, Unit, as_chosen
from tvmcomp.report.html.operators import kernel_rows, operator_rows, roofs
from tvmcomp.tuning.peaks import Peaks

OPERATORS = (
    Operator("conv", "nn.conv2d", "int8", macs=1000),
    Operator("relu", "nn.relu", "int8", inputs=(0,)),
    Operator("head", "matmul", "float32", "kept in float by the accuracy guard", macs=100),
    Operator("again", "nn.conv2d", "int8", macs=1000),
)
KERNELS = (
    KernelWork("fused_conv", "uint8", 1000, 500, ((0, 1), (3,))),
    KernelWork("fused_head", "float32", 100, 400, ((2,),)),
)
CALLS = {"fused_conv": [3.0, 1.0], "fused_head": [4.0]}


@pytest.fixture(scope="module")
def metadata() -> Metadata:
    made = dense_artifact().metadata
    return replace(made, operators=OPERATORS, kernels=KERNELS, quant="int8")


def test_each_call_is_the_time_of_the_operator_with_most_products(metadata: Metadata) -> None:
    conv, relu, head, again = operator_rows(metadata, CALLS, None)
    assert (conv.ms, again.ms, head.ms) == (3.0, 1.0, 4.0)
    assert conv.share == 3 / 8 and conv.within is None
    assert relu.ms is None and relu.within == 0 and relu.kernel == "fused_conv"
    assert head.why.startswith("kept in float") and conv.why == "rounded to 8 bits"


def test_calls_that_depend_on_the_data_share_their_time(metadata: Metadata) -> None:
    rows = operator_rows(metadata, {"fused_conv": [1.0, 1.0, 4.0]}, None)
    assert rows[0].ms == rows[3].ms == 3.0


def test_without_a_profile_there_are_no_times(metadata: Metadata) -> None:
    rows = operator_rows(metadata, {}, {"conv": "float32"})
    assert all(row.ms is None and row.share is None for row in rows)
    assert rows[0].was == "float32" and rows[1].within == 0


def test_no_kernel_is_above_its_roof(metadata: Metadata) -> None:
    peaks = Peaks(metadata.target, 1)
    rows = kernel_rows(metadata, {**CALLS, "fused_head": [1e-9], "copy": [0.5]}, peaks)
    assert [row.name for row in rows] == ["fused_conv", "copy", "fused_head"]
    found = {row.name: row for row in rows}
    assert found["fused_conv"].format == "int8" and found["fused_conv"].intensity == 2.0
    assert found["copy"].rate is None
    assert {roof.format for roof in roofs(rows, peaks)} == {"int8", "float32"}
    arithmetic = peaks.multiply_adds("float32") / 1e9
    assert found["fused_head"].rate == pytest.approx(arithmetic)  # the clock was raised to it


TABLE = Table(
    (
        Unit(
            "conv", ("conv", "relu"),
            (Format("float32", 32, 5.0, 0.0), Format("int8", 8, 2.0, 1e-3),
             Format("int8", 4, 2.0, 1e-2), Format("int8", 8, 1.0, 1e-1, rank=3)),
        ),
        Unit("head", ("head",), (Format("float32", 32, 3.0, 0.0), Format("int8", 8, 4.0, 0.05))),
    ),
)  # fmt: skip


def test_a_search_says_why_it_chose_each_format(metadata: Metadata) -> None:
    rows = operator_rows(metadata, CALLS, None)
    formats = {row.name: row.format for row in rows}
    rules = {"conv": {"bits": 4}, "head": {"dtype": "float"}}
    recipe = [{"name": "prune", "left": {"conv": 8}}, {"name": "quantize", "operators": rules}]
    conv, relu, head, _ = as_chosen(rows, recipe, TABLE)
    assert formats["conv"] == "int8" and formats["head"] == "float32"
    assert "chose int8, weights stored in 4 bits: 5 µs in float32, 2 in int8" in conv.why
    assert conv.network_sqnr_db == pytest.approx(20)
    assert "left it in float32: 3 µs in float32, 4 in int8" in head.why and "5%" in head.why
    assert relu == rows[1]  # it multiplies nothing: it goes with its convolution


def test_what_the_build_did_otherwise_keeps_its_reason(metadata: Metadata) -> None:
    rows = operator_rows(metadata, CALLS, None)
    assert as_chosen(rows, [{"name": "quantize"}], TABLE)[2] == rows[2]  # head is in float
    assert as_chosen(rows, [], TABLE)[0] == rows[0]  # conv is in int8
    assert as_chosen(rows, [{"name": "quantize"}], Table()) == rows
