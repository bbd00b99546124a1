"""The operators of a network for a person: those that matter, and what the others are.

A network of 500 operators fills ten screens, and the one that stays float is on the third. What
matters: what multiplies and stays float, what was kept in float, what has only a generic kernel,
and what takes most multiplications.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console

from tvmcomp.fitted import Column, fitted_table, shortened_names
from tvmcomp.model import Operator
from tvmcomp.quantize.reasons import IN_REGISTERS, KEPT_AS_ASKED, KEPT_BY_GUARD

#: Of each kind of what matters so many are shown, the heaviest first.
_SHOWN = 10
#: Kinds and reasons that are named in one line.
_NAMED = 6
_LEAST_NAME = 16


def print_operators(
    operators: Sequence[Operator], console: Console, *, runs_in: str, show_all: bool = False
) -> None:
    """Print a table of what matters, and the number of the others by kind.

    Args:
        operators: all of them, in program order.
        console: where to; long names are shortened to its width.
        runs_in: title of the column of types.
        show_all: every operator in the table.
    """
    shown = list(operators) if show_all else operators_that_matter(operators)
    if shown:
        _print_table(shown, console, runs_in)
    names = {operator.name for operator in shown}
    rest = [operator for operator in operators if operator.name not in names]
    if rest and not show_all:
        kinds = _counts(operator.kind for operator in rest)
        noun = "operator" if len(rest) == 1 else "operators"
        text = f"{'and ' if shown else ''}{len(rest)} more {noun}: {kinds}"
        reasons = [each.reason for each in rest if each.reason and each.reason != IN_REGISTERS]
        if reasons:
            kinds = _counts(reason.partition(":")[0] for reason in reasons)  # without figures
            text += f"; {len(reasons)} of them in float: {kinds}"
        console.print(f"{text}; --all shows them", markup=False)


def operators_that_matter(operators: Sequence[Operator]) -> list[Operator]:
    """Those of ``operators`` that a person should see, in their order."""
    heavy = sorted(operators, key=lambda operator: -operator.macs)
    groups = (
        [operator for operator in heavy if operator.reason and operator.macs],
        [operator for operator in heavy if operator.reason in (KEPT_AS_ASKED, KEPT_BY_GUARD)],
        [operator for operator in heavy if operator.generic],
        [operator for operator in heavy if operator.macs],
    )
    names = {operator.name for group in groups for operator in group[:_SHOWN]}
    return [operator for operator in operators if operator.name in names]


def _print_table(shown: Sequence[Operator], console: Console, runs_in: str) -> None:
    columns = [
        Column("operator", "name"),
        Column("kind", "name", rank=3),
        Column(runs_in),
        Column("SQNR dB", "number", rank=4),
        Column("M MAC", "number", rank=1),
        Column("remarks", "sentence", rank=2),
    ]
    rows = [
        (
            operator.name,
            operator.kind,
            operator.dtype,
            "" if operator.sqnr_db is None else f"{operator.sqnr_db:.1f}",
            f"{operator.macs / 1e6:.2f}" if operator.macs else "",
            _remarks(operator),
        )
        for operator in shown
    ]
    used = [i for i in range(len(columns)) if not columns[i].rank or any(row[i] for row in rows)]
    table, left_out = fitted_table(
        [columns[i] for i in used], [[row[i] for i in used] for row in rows], console
    )
    console.print(table)
    if "remarks" in left_out:
        remarked = [operator for operator in shown if _remarks(operator)]
        width = max(_LEAST_NAME, console.width // 3)
        names = shortened_names([operator.name for operator in remarked], width)
        for name, operator in zip(names, remarked, strict=True):
            console.print(f"{name}: {_remarks(operator)}", markup=False)


def _remarks(operator: Operator) -> str:
    generic = "only a generic kernel" if operator.generic else ""
    return "; ".join(filter(None, (operator.reason, generic)))


def _counts(words: Iterable[str]) -> str:
    """``3 add, 2 nn.relu``: the most frequent ones, and how many others."""
    counts = Counter(words).most_common()
    named = [f"{count} {word}" for word, count in counts[:_NAMED]]
    others = sum(count for _, count in counts[_NAMED:])
    return ", ".join([*named, *([f"{others} others"] if others else [])])
