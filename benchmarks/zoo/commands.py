"""The command line that the zoo and the kinds share: a command gives rows, which are printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.zoo.packages import ZooError


@dataclass(frozen=True)
class Command:
    """A subcommand: what it does, and how many names it takes (`nargs`; none if empty)."""

    name: str
    function: Callable[[argparse.Namespace], list[dict]]
    names: str
    text: str


def run(
    package: str, description: str, epilog: str, commands: Iterable[Command], known: Iterable[str]
) -> int:
    """Run one command of `python -m package` on some of the `known` networks; the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = list(known)
    choices = parser.add_subparsers(required=True, metavar="COMMAND")
    for each in commands:
        command = choices.add_parser(each.name, help=each.text, description=each.text)
        command.set_defaults(function=each.function)
        command.add_argument("--json", action="store_true", help="print JSON")
        if each.names:
            command.add_argument("names", nargs=each.names, metavar="NAME", help=", ".join(known))
    args = parser.parse_args()
    unknown = [name for name in getattr(args, "names", []) if name not in known]
    if unknown:
        parser.error(f"no network is called {unknown[0]!r}; there are {', '.join(known)}")
    try:
        rows = args.function(args)
    except (ZooError, OSError) as error:
        print(f"{package}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"{package}: {error}; pip install 'tvmcomp[benchmarks]'", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print_rows(rows)
    return 0


def print_rows(rows: list[dict]) -> None:
    """Print one line a row, for a person."""
    for row in rows:
        facts = (f"{key} {value}" for key, value in row.items() if key not in ("name", "packages"))
        print(f"{row['name']}: {', '.join(facts)}")
