"""The options of every command that runs an artifact: where, on which threads, how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tvmcomp.runtime.machine import Machine
    from tvmcomp.runtime.threads import Pin

F = TypeVar("F", bound=Callable[..., Any])


def _parse_pin(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Pin:
    """``auto`` is True, ``0,2`` is [0, 2], nothing is False."""
    if text is None or text == "auto":
        return text is not None
    try:
        return [int(core) for core in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither auto nor CORE,CORE,…") from None


def machine_options(command: F) -> F:
    """Add ``--device``, ``--threads``, ``--pin`` and ``--timeout``."""
    for option in (
        click.option(
            "--timeout",
            type=click.FloatRange(min=1),
            default=600.0,
            show_default=True,
            help="Seconds that the session on a device may take.",
        ),
        click.option(
            "--pin",
            metavar="CORES",
            callback=_parse_pin,
            help="Bind each thread to a core: `auto`, or a core for each, as 0,1 "
            "[default: the system moves them].",
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
        ConfigError, DeviceError: as :func:`tvmcomp.runtime.remote.device.connect`.
    """
    if device is None:
        from tvmcomp.runtime.machine import ThisMachine

        yield ThisMachine()
        return
    from tvmcomp.runtime.tvm_runtime import prefer_runtime_library

    prefer_runtime_library()  # RPC is in TVM's package; who needs the compiler has imported it
    from tvmcomp.runtime.remote.device import connect

    with connect(device, timeout) as board:
        yield board
