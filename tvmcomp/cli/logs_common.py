"""What the commands of ``tvmcomp logs`` share: which logs, and how what they hold is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tvmcomp.tuning.log.store import Store
    from tvmcomp.tuning.log.tuning_log import TuningLog

F = TypeVar("F", bound=Callable[..., Any])


def logs_argument(command: F) -> F:
    """Add ``[LOG]...``; ``--log`` says the same, as it does for ``tune`` and ``build``."""
    command = click.option("--log", multiple=True, metavar="LOG", help="The same as LOG.")(command)
    return click.argument("logs", nargs=-1, metavar="[LOG]...")(command)


def one_log_option(command: F) -> F:
    """Add ``--log`` for one log."""
    return click.option("--log", metavar="LOG", help="[default: your own folder]")(command)


@contextmanager
def opened(locations: Iterable[str]) -> Iterator[TuningLog]:
    """Open the logs that were named, which must exist; the user's own where none was."""
    from tvmcomp.tuning.log.places import open_store, own_location
    from tvmcomp.tuning.log.tuning_log import TuningLog

    named = list(locations)
    stores = [open_store(location, must_exist=True) for location in named]
    log = TuningLog(stores or [open_store(own_location())])
    try:
        yield log
    finally:
        log.close()


@contextmanager
def one(location: str | None, must_exist: bool = True) -> Iterator[Store]:
    """Open one store; the user's own where ``location`` is None."""
    from tvmcomp.tuning.log.places import open_store, own_location

    store = open_store(own_location()) if location is None else open_store(location, must_exist)
    try:
        yield store
    finally:
        store.close()


def the_one(logs: tuple[str, ...], log: tuple[str, ...]) -> str | None:
    """The only log that was named, or None.

    Raises:
        click.UsageError: there are more.
    """
    named = [*logs, *log]
    if len(named) > 1:
        raise click.UsageError("this command takes one LOG")
    return named[0] if named else None


def milliseconds(seconds: float | None) -> str:
    """``1.234``, or a dash."""
    return "–" if seconds is None else f"{seconds * 1e3:.4g}"
