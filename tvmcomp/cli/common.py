"""What every subcommand shares: how results are printed and how errors end the process."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from tvmcomp.arguments import duration
from tvmcomp.errors import ConfigError
from tvmcomp.fitted import printable

F = TypeVar("F", bound=Callable[..., Any])

#: Options that have another name now; the old ones work for one version more, with a note.
_OLD_OPTIONS = {"--cc": "--linker"}

_ARGUMENTS = "tvmcomp.arguments"
#: Of ``postgresql://user:password@host``: what is before the password.
_PASSWORD = re.compile(r"(://[^/@\s]*?:)[^/@\s]*@")

#: Tables and reports go to standard output; progress and messages to standard error.
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class RecordingCommand(click.Command):
    """A command that remembers how it was called, for :func:`typed_line`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See :class:`click.Command`."""
        ctx.meta[_ARGUMENTS] = [_PASSWORD.sub(r"\1***@", argument) for argument in args]
        return super().parse_args(ctx, args)


def typed_line(ctx: click.Context) -> list[str]:
    """The command line of a :class:`RecordingCommand`, without passwords in addresses."""
    return ["tvmcomp", ctx.info_name or "", *ctx.meta[_ARGUMENTS]]


class NotingCommand(RecordingCommand):
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


class Duration(click.ParamType):
    """A time, in seconds: ``90s``, ``20m``, ``1.5h``."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """See :class:`click.ParamType`."""
        try:
            return duration(value, "it")
        except ConfigError:
            self.fail(f"{value!r} is no time; write 90s, 20m or 1.5h", param, ctx)


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


def print_json(document: Any) -> None:
    """Print ``document`` as JSON on standard output; what is no finite number is null."""
    json.dump(_with_finite(document), sys.stdout, indent=2, default=str, allow_nan=False)
    sys.stdout.write("\n")


def _with_finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _with_finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_finite(each) for each in value]
    return value


def plain(text: str) -> Text:
    """Text out of a log for a terminal: no markup, no control characters."""
    return Text(printable(text))


def print_problems(problems: Iterable[str]) -> None:
    """Print what was skipped to standard error."""
    for problem in problems:
        err.print(Text.assemble(("log: ", "yellow"), plain(problem)), soft_wrap=True)
