"""What every subcommand shares: how results are printed and how errors end the process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from tvmcomp.fitted import printable

F = TypeVar("F", bound=Callable[..., Any])

#: Options that have another name now; the old ones work for one version more, with a note.
_OLD_OPTIONS = {"--cc": "--linker"}

#: Tables and reports go to standard output; progress and messages to standard error.
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class NotingCommand(click.Command):
    """A command that takes options by their old names, too, and says what they are called now."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See :class:`click.Command`."""
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*map(_new_spelling, args[:end]), *args[end:]])


def _new_spelling(argument: str) -> str:
    option, equals, value = argument.partition("=")
    if option not in _OLD_OPTIONS:
        return argument
    new = _OLD_OPTIONS[option]
    err.print(f"note: {option} is called {new} now; the old name goes with the next version")
    return f"{new}{equals}{value}"


def json_option(command: F) -> F:
    """Add ``--json``: the command prints one JSON document on standard output and nothing else."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def all_option(command: F) -> F:
    """Add ``--all``: every operator is shown, and not only those that matter."""
    help_text = "Show every operator, not only those that matter."
    return click.option("--all", "show_all", is_flag=True, help=help_text)(command)


def log_option(command: F) -> F:
    """Add ``--log``, which may be repeated."""
    return click.option(
        "--log",
        multiple=True,
        metavar="LOG",
        help="Tuning records: a folder, a PATH.db, or postgresql://USER@HOST/DATABASE. Repeat it "
        "to read more; the first is written. `none` beside it leaves out the records that ship, "
        "and alone all records.  "
        "[default: your own folder]",
    )(command)


def fix_option(command: F) -> F:
    """Add ``--fix``, whose texts :func:`parse_fixed` reads."""
    return click.option(
        "--fix",
        "fixed",
        multiple=True,
        metavar="NAME=VALUE,…",
        help="Make a constant of an input: sr=16000; repeatable.",
    )(command)


def print_json(document: Any) -> None:
    """Print ``document`` as JSON on standard output."""
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def plain(text: str) -> Text:
    """Text out of a log for a terminal: no markup, no control characters."""
    return Text(printable(text))


def print_problems(problems: Iterable[str]) -> None:
    """Print what was skipped to standard error."""
    for problem in problems:
        err.print(Text.assemble(("log: ", "yellow"), plain(problem)), soft_wrap=True)


def parse_shapes(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Parse ``--shape x=1,3,224,224`` options into ``{"x": (1, 3, 224, 224)}``.

    Raises:
        click.BadParameter: an option is not of that form.
    """
    shapes = {}
    for text in texts:
        name, equals, dims = text.rpartition("=")
        try:
            if not equals or not name:
                raise ValueError
            shapes[name] = tuple(int(dim) for dim in dims.split(",") if dim.strip())
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is not NAME=DIM,DIM,…; an example: --shape x=1,3,224,224"
            ) from None
        if any(dim < 0 for dim in shapes[name]):
            raise click.BadParameter(f"{text!r}: no dimension may be below 0")
    return shapes


def parse_dims(texts: tuple[str, ...]) -> dict[str, int]:
    """Parse ``--dim batch=1`` options into ``{"batch": 1}``.

    Raises:
        click.BadParameter: an option is not of that form.
    """
    dims = {}
    for text in texts:
        name, equals, size = text.rpartition("=")
        if not equals or not name or not size.strip().isdecimal() or int(size) < 1:
            raise click.BadParameter(f"{text!r} is not NAME=SIZE; an example: --dim batch=1")
        dims[name] = int(size)
    return dims


def parse_fixed(texts: tuple[str, ...]) -> dict[str, list[int] | list[float]]:
    """Parse ``--fix sr=16000`` options into ``{"sr": [16000]}``.

    Raises:
        click.BadParameter: an option is not of that form.
    """
    fixed: dict[str, list[int] | list[float]] = {}
    for text in texts:
        name, equals, values = text.rpartition("=")
        try:
            if not equals or not name:
                raise ValueError
            fixed[name] = _numbers(values.split(","))
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is not NAME=NUMBER,…; an example: --fix sr=16000"
            ) from None
    return fixed


def _numbers(texts: list[str]) -> list[int] | list[float]:
    try:
        return [int(text) for text in texts]
    except ValueError:
        return [float(text) for text in texts]
