"""Tables on terminals of any width: no line is longer, and no name takes two."""

from __future__ import annotations

import io
import random

import pytest
from rich.cells import cell_len
from rich.console import Console

from tvmcomp.fitted import Column, fitted_table, printable, shortened, shortened_names

COLUMNS = (
    Column("operator", "name"),
    Column("kind", "name", rank=2),
    Column("runs in"),
    Column("M MAC", "number", rank=1),
    Column("remarks", "sentence", rank=3),
)
#: Syllables, wide characters of a model's author, and what does not print.
PARTS = ("block", "conv2d", "_", "注意", "/", "é", "\x1b[31m", "10", "[red]", ".")


def rows(generator: random.Random, count: int) -> list[tuple[str, ...]]:
    def name() -> str:
        return "".join(generator.choices(PARTS, k=generator.randint(1, 12)))

    reasons = ("", "its right side is not a constant", "kept in float by the accuracy guard")
    return [
        (name(), name(), "float32", f"{generator.random() * 1e3:.2f}", generator.choice(reasons))
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_no_line_is_longer_than_the_terminal_and_names_take_one(seed):
    generator = random.Random(seed)
    width, data = generator.randint(40, 160), rows(generator, generator.randint(0, 12))
    console = Console(file=io.StringIO(), width=width)
    table, left_out = fitted_table(COLUMNS, data, console)
    console.print(table)
    text = console.file.getvalue()
    lines = text.splitlines()
    assert all(cell_len(line) <= width for line in lines) and "\x1b" not in text
    starts = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    named = [start for start in starts if start]  # a sentence goes on below an empty name
    assert len(named) == len(data)
    for (name, *_), cut in zip(data, named, strict=True):
        head, dots, tail = cut.partition("…")
        name = printable(name).strip()
        assert (name.startswith(head) and name.endswith(tail)) if dots else cut == name
    assert set(left_out) <= {"remarks", "kind", "M MAC"}
    assert not left_out or width < 100


def test_columns_are_left_out_by_their_rank():
    data = [("n" * 40, "k" * 20, "float32", "12345.67", "r" * 60)]
    out = [fitted_table(COLUMNS, data, Console(width=width))[1] for width in (77, 76, 53, 37)]
    assert out == [[], ["remarks"], ["kind", "remarks"], ["kind", "M MAC", "remarks"]]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("share", [0.0, 0.15, 0.5, 0.85, 1.0])
def test_a_name_is_cut_in_the_middle(width, share):
    name = "features.12.conv.0/Conv"
    cut = shortened(name, width, share)
    assert cell_len(cut) == width
    head, _, tail = cut.partition("…")
    assert name.startswith(head) and name.endswith(tail)
    assert shortened("short", 5) == "short" and shortened("注意注意", 5) == "注…意"


def test_names_stay_apart_where_they_can():
    names = [f"encoder.layers.{i}.attention.output.dense/MatMul" for i in range(9)]
    assert len(set(shortened_names(names, 25))) == 9
    names = [f"encoder/attention/output/MatMul_{i}" for i in range(12)]
    assert len(set(shortened_names(names, 16))) == 12


def test_words_that_do_not_fit_are_no_error():
    console = Console(width=10, file=io.StringIO())
    fitted_table([Column("a"), Column("b")], [("a long word", "another")], console)
