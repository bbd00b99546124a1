"""What a person sees of a large network: what matters, and how many others of which kind."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tvmcomp.model import Operator
from tvmcomp.quantize.reasons import KEPT_AS_ASKED, KEPT_BY_GUARD
from tvmcomp.report.operators import operators_that_matter, print_operators

#: 500 operators: convolutions of growing size, each with an addition and activations.
NETWORK = [
    each
    for i in range(100)
    for each in (
        Operator(f"block{i}.conv", "nn.conv2d", "int8", sqnr_db=30.0, macs=1000 * (i + 1)),
        Operator(f"block{i}.bias", "add", "int8"),
        Operator(f"block{i}.relu", "nn.relu", "int8"),
        Operator(f"block{i}.move", "reshape", "float32", "it moves float data"),
        Operator(f"block{i}.sum", "add", "int8"),
    )
]
CHANGED = {
    "block3.conv": Operator(
        "block3.conv", "nn.conv2d", "float32", "its weight is not finite", macs=4000
    ),
    "block4.sum": Operator("block4.sum", "add", "float32", KEPT_BY_GUARD),
    "block5.relu": Operator("block5.relu", "nn.relu", "float32", KEPT_AS_ASKED),
    "block6.conv": Operator("block6.conv", "nn.conv2d", "int8", macs=7000, generic=True),
}
MIXED = [CHANGED.get(operator.name, operator) for operator in NETWORK]


def printed(operators, width=160, **options) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_operators(operators, console, runs_in="runs in", **options)
    return console.file.getvalue()


def test_what_matters():
    names = [operator.name for operator in operators_that_matter(MIXED)]
    heaviest = [f"block{i}.conv" for i in range(90, 100)]
    assert names == ["block3.conv", "block4.sum", "block5.relu", "block6.conv", *heaviest]


def test_the_others_are_counted_by_kind_and_reason():
    text = " ".join(printed(MIXED).split())
    assert len(printed(MIXED).splitlines()) < 30
    assert "and 486 more operators: 199 add, 100 reshape, 99 nn.relu, 88 nn.conv2d" in text
    assert "100 of them in float: 100 it moves float data; --all shows them" in text
    assert "its weight is not finite" in text and "only a generic kernel" in text


def test_all_shows_every_one():
    text = printed(MIXED, show_all=True)
    assert sum(line.startswith("│ block") for line in text.splitlines()) == 500
    assert "more operators" not in text


@pytest.mark.parametrize("width", [40, 50, 60])
def test_a_narrow_terminal_keeps_names_whole_lines_and_reasons(width):
    text = printed(MIXED, width)
    assert max(map(len, text.splitlines())) <= width
    assert "block98.conv" in text or "…" in text
    for reason in ("its weight is not finite", KEPT_BY_GUARD, "only a generic kernel"):
        assert reason in " ".join(text.replace("│", " ").split())


def test_a_network_of_nothing_to_see():
    assert printed([]) == ""
    assert "runs in" not in printed([Operator("a", "add", "float32")])
    assert "1 more operator: 1 add" in printed([Operator("a", "add", "float32")])
