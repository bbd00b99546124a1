"""The options of every command that runs an artifact: where, on how many threads, how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tvmcomp.runtime.machine import Machine

F = TypeVar("F", bound=Callable[..., Any])


def machine_options(command: F) -> F:
    """Add ``--device``, ``--threads`` and ``--timeout``."""
    for option in (
        click.option(
            "--timeout",
            type=click.FloatRange(min=1),
            default=600.0,
            show_default=True,
            help="Seconds that the session on a device may take.",
        ),
        click.option(
            "--threads", type=int, default=None, help="Threads to run on [default: one a core]."
        ),
        click.option(
            "--device",
            metavar="ADDRESS",
            help="Run there: HOST:PORT of `tvmcomp devices serve`, or TRACKER:PORT/KEY.",
        ),
    ):
        command = option(command)
    return command


@contextmanager
def machine_for(device: str | None, timeout: float) -> Iterator[Machine]:
    """This machine, or a session on a device, ended on exit.

    Raises:
        ConfigError, DeviceError: as :func:`tvmcomp.runtime.device.connect`.
    """
    if device is None:
        from tvmcomp.runtime.machine import ThisMachine

        yield ThisMachine()
        return
    from tvmcomp.runtime.device import connect

    with connect(device, timeout) as board:
        yield board
