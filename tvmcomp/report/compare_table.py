"""A comparison of two artifacts for a person."""

from __future__ import annotations

from rich.console import Console

from tvmcomp.fitted import Column, fitted_table, printable
from tvmcomp.report.compare import Comparison

#: Operators of another format that are shown without --all.
_SHOWN = 10


def print_comparison(comparison: Comparison, console: Console, *, show_all: bool = False) -> None:
    """Print the figures, the operators whose formats differ, and the notes."""
    columns = [Column("", "sentence"), Column("before", "number"), Column("after", "number")]
    columns += [Column("change", "sentence", rank=1), Column("verdict")]
    rows: list[tuple[str, ...]] = [
        (each.title, each.before_text, each.after_text, each.change, each.verdict)
        for each in comparison.changes
    ]
    console.print(fitted_table(columns, rows, console)[0])
    found = comparison.formats if show_all else comparison.formats[:_SHOWN]
    if found:
        columns = [Column("operator", "name"), Column("kind", "name", rank=2), Column("before")]
        columns += [Column("after"), Column("why", "sentence", rank=1)]
        absent = "not there"
        rows = [
            (each.operator, each.kind, each.before or absent, each.after or absent, each.why or "")
            for each in found
        ]
        if not any(row[-1] for row in rows):
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        console.print(fitted_table(columns, rows, console)[0])
        left = len(comparison.formats) - len(found)
        if left:
            console.print(f"and {left} more operators in another format; --all shows them")
    else:
        console.print("all operators compute in the same formats")
    for note in comparison.notes:
        console.print(f"note: {printable(note)}", soft_wrap=True, markup=False)
