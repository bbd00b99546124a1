"""Tables that fit the terminal: long names are shortened in the middle, columns left out at last.

Names of operators and kernels differ at both ends and are long. Wrapped, a narrow terminal makes of
them a column of syllables; here they keep one line each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Columns of the terminal that a name or a sentence keeps, at least.
_LEAST_NAME = 13
_LEAST_SENTENCE = 20
#: Where a name can be cut; the first of those that tell names apart equally well is taken.
_HEAD_SHARES = (0.5, 0.7, 0.3, 0.85, 0.15)


@dataclass(frozen=True)
class Column:
    """A column of a fitted table.

    Attributes:
        title: its head.
        holds: a ``name`` is shortened, a ``sentence`` wrapped between words; a ``word`` and a
            ``number``, which goes to the right, keep what they need.
        rank: where there is no room, columns are left out from the highest rank on; 0 stays.
    """

    title: str
    holds: Literal["name", "sentence", "word", "number"] = "word"
    rank: int = 0


def printable(text: str) -> str:
    """``text``, which may come out of a model or a log, without control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)


def shortened(text: str, width: int, head_share: float = 0.5) -> str:
    """``text`` in ``width`` cells of a terminal, with an ellipsis in place of its middle.

    Args:
        text: one line.
        width: cells, at least 1.
        head_share: how much of what stays is the text's beginning; the rest is its end.
    """
    if cell_len(text) <= width:
        return text
    for_head = round((width - 1) * head_share)
    head = chop_cells(text, for_head)[0] if for_head else ""
    for_tail = width - 1 - cell_len(head)
    tail = chop_cells(text[::-1], for_tail)[0][::-1] if for_tail else ""
    return f"{head}…{tail}"


def shortened_names(names: Sequence[str], width: int) -> list[str]:
    """``names`` in ``width`` cells each, cut where as many as can be stay different."""
    cuts = ([shortened(name, width, share) for name in names] for share in _HEAD_SHARES)
    return max(cuts, key=lambda cut: len(set(cut)))


def fitted_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], console: Console
) -> tuple[Table, list[str]]:
    """Lay out ``rows`` for ``console``.

    Args:
        columns: what each row holds.
        rows: text, one a column; it may come from anywhere.
        console: its width is what there is.

    Returns:
        The table, and the titles of the columns that there was no room for.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    kept = list(range(len(columns)))
    while _least(columns, rows, kept) > console.width:
        last = max(kept, key=lambda index: columns[index].rank)
        if not columns[last].rank:
            break
        kept.remove(last)
    widths = _widths(columns, rows, kept, console.width)
    table = Table()
    cells = []
    for index in kept:
        column = columns[index]
        table.add_column(
            column.title,
            justify="right" if column.holds == "number" else "left",
            no_wrap=column.holds != "sentence",
            width=widths[index],
        )
        texts = [row[index] for row in rows]
        named = column.holds == "name"
        cells.append(shortened_names(texts, widths[index]) if named else texts)
    for row in zip(*cells, strict=True):
        table.add_row(*map(Text, row))
    return table, [column.title for index, column in enumerate(columns) if index not in kept]


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], kept: Sequence[int], width: int
) -> dict[int, int]:
    """What each column gets: its least, and a share of the rest by what it lacks."""
    widths = {index: _least_width(columns, rows, index) for index in kept}
    lacks = {index: _natural(columns, rows, index) - widths[index] for index in kept}
    left, lacking = width - _least(columns, rows, kept), sum(lacks.values())
    for index in kept:
        share = lacks[index] if left >= lacking else max(0, left) * lacks[index] // max(lacking, 1)
        widths[index] += share
    return widths


def _least(columns: Sequence[Column], rows: Sequence[Sequence[str]], kept: Sequence[int]) -> int:
    """Of a table of these columns, its lines and the space beside them included."""
    return sum(_least_width(columns, rows, index) for index in kept) + 3 * len(kept) + 1


def _least_width(columns: Sequence[Column], rows: Sequence[Sequence[str]], index: int) -> int:
    natural = _natural(columns, rows, index)
    if columns[index].holds in ("word", "number"):
        return natural
    least = _LEAST_NAME if columns[index].holds == "name" else _LEAST_SENTENCE
    return min(natural, max(least, cell_len(columns[index].title)))


def _natural(columns: Sequence[Column], rows: Sequence[Sequence[str]], index: int) -> int:
    return max(map(cell_len, (columns[index].title, *(row[index] for row in rows))))
