"""Rows of a table that takes hours: each is kept as soon as it is known, and is not made again."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.compress import networks
from benchmarks.compress.variants import Judged, Variant
from benchmarks.kinds import catalogue as kinds


class Row(msgspec.Struct, frozen=True):
    """A network and what was made of it.

    Attributes:
        table, name, settings: what row it is.
        samples: that it was judged on.
        float_points: those of the float network in ONNX Runtime.
        variants: what was made, by name.
    """

    table: str
    name: str
    settings: str
    samples: int
    float_points: dict[str, float]
    variants: dict[str, Judged] = {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every table has."""
    known = ", ".join(networks.names())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {known} [all]")
    parser.add_argument("--limit", type=int, metavar="N", help="judge by at most N samples")
    samples_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="keep what is measured there, line by line, and do nothing twice",
    )


def samples_argument(parser: argparse.ArgumentParser) -> None:
    """How many unlabelled samples there are."""
    parser.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="give so many unlabelled samples, rendered or of the training set, where there are "
        "[as many as calibrate]",
    )


def budget_argument(parser: argparse.ArgumentParser) -> None:
    """How long training may take."""
    parser.add_argument(
        "--budget", default="20m", help="of each training of a network [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=0)


def rows(
    args: argparse.Namespace, table: str, settings: str, variants: Mapping[str, Variant]
) -> list[Row]:
    """Make and judge every variant of every network that was asked for.

    Args:
        args: the command line.
        table: its name.
        settings: what else the numbers depend on.
        variants: name -> what makes it.
    """
    settings = f"{settings}, limit {args.limit}" if args.limit else settings
    settings = f"{settings}, samples {args.samples}" if args.samples else settings
    known = _read(args.results)
    found = []
    for name in args.names or networks.names():
        row = known.get((table, name, settings))
        done = {} if row is None else row.variants
        missing = {key: judge for key, judge in variants.items() if key not in done}
        if missing:
            case = networks.load(name, args.limit, args.samples)
            reference = kinds.run_float(case.model, case.inputs)
            if row is None:
                points = case.judge(reference, reference)
                row = Row(table, name, settings, len(case.samples), points)
            for key, judge in missing.items():
                print(f"{name}: {key}", file=sys.stderr, flush=True)
                try:
                    judged = judge(case, reference)
                except Exception as error:  # noqa: BLE001  the table says what fails, and goes on
                    judged = Judged(error=f"{type(error).__name__}: {error}")
                row = msgspec.structs.replace(row, variants={**row.variants, key: judged})
                _append(args.results, row)
        assert row is not None
        found.append(row)
    return found


def show(
    args: argparse.Namespace, found: list[Row], columns: Mapping[str, Callable[[Row], str]]
) -> None:
    """Print a line for each network, or JSON.

    Args:
        args: the command line.
        found: the rows.
        columns: heading -> what a row has there.
    """
    if args.json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    table = Table("network", "samples", *columns)
    for row in found:
        table.add_row(row.name, str(row.samples), *(cell(row) for cell in columns.values()))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    for row in found:
        for key, judged in row.variants.items():
            if judged.error:
                console.print(f"{row.name}, {key}: {judged.error}", markup=False)


def points(values: Mapping[str, float]) -> str:
    """Points of each score, shortly."""
    return " ".join(f"{value:.2f}" for value in values.values())


def lost(row: Row, name: str) -> str:
    """Points that a variant loses."""
    judged = row.variants.get(name)
    if judged is None:
        return ""
    return "failed" if judged.error else f"{judged.drop:+.2f}"


def noise(row: Row) -> float:
    """Half of the width, in points, of where a score of so many samples lies in 95 of 100 cases,
    were it a share of them; of the score where that is most."""
    shares = [min(max(value / 100, 0.0), 1.0) for value in row.float_points.values()]
    return max(196 * (share * (1 - share) / row.samples) ** 0.5 for share in shares)


def _read(path: Path | None) -> dict[tuple[str, str, str], Row]:
    """The newest of each row; a line that a stopped run left unfinished is none."""
    found: dict[tuple[str, str, str], Row] = {}
    if path is None or not path.exists():
        return found
    for line in path.read_text().splitlines():
        try:
            row = msgspec.json.decode(line, type=Row)
        except msgspec.DecodeError:
            continue
        found[row.table, row.name, row.settings] = row
    return found


def _append(path: Path | None, row: Row) -> None:
    if path is not None:
        with path.open("a") as file:
            file.write(msgspec.json.encode(row).decode() + "\n")
