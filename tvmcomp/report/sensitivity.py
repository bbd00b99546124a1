"""What parts of a network could lose, as a table for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from tvmcomp.fitted import Column, fitted_table, printable

if TYPE_CHECKING:
    from tvmcomp.compress.sensitivity import Sensitivity


def print_sensitivities(rows: Sequence[Sensitivity], console: Console) -> None:
    """Print the table; nothing where there are no rows."""
    if not rows:
        return
    columns = [Column("part", "name"), Column("kind", rank=2), Column("has", "number")]
    columns += [Column("left", "number"), Column("saves", "number"), Column("harm", "number")]
    columns += [Column("operators", "number", rank=1)]
    cells = [
        (
            printable(each.name),
            each.kind,
            f"{each.count:,}",
            f"{each.left:,}",
            f"{100 * each.saved:.1f}%",
            f"{each.harm:.2g}",
            str(len(each.operators)),
        )
        for each in rows
    ]
    console.print(fitted_table(columns, cells, console)[0])
    console.print(
        "saves: of the time on the target; harm: how far the outputs diverge before anything is "
        "mended or trained (nats a sample, or half the squared error over the variance)",
        soft_wrap=True,
    )
