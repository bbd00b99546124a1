"""The options of every command that runs an artifact: where, on which threads, how long."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from tvmcomp.runtime.machine import Machine
    from tvmcomp.runtime.threads import Pin

F = TypeVar("F", bound=Callable[..., Any])


class Place(NamedTuple):
    """Where to run: this machine without a device; the rest is as for ``tvmcomp.connect``."""

    device: str | None
    timeout: float
    runner: str | None
    remote_dir: str | None


def _parse_pin(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Pin:
    """``auto`` is True, ``0,2`` is [0, 2], nothing is False."""
    if text is None or text == "auto":
        return text is not None
    try:
        return [int(core) for core in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither auto nor CORE,CORE,…") from None


def machine_options(command: F) -> F:
    """Add ``--threads``, ``--pin``, and ``--device`` with its own, which become a ``place``."""

    @functools.wraps(command)
    def with_place(
        *args: Any,
        device: str | None,
        timeout: float,
        runner: str | None,
        remote_dir: str | None,
        **options: Any,
    ) -> Any:
        place = Place(device, timeout, runner, remote_dir)
        return command(*args, place=place, **options)

    decorated: Any = with_place
    for option in (
        click.option(
            "--remote-dir",
            metavar="DIR",
            help="Make the session's folder there, on a device with a shell [default: $TMPDIR "
            "or /tmp there].",
        ),
        click.option(
            "--runner",
            metavar="COMMAND",
            help="Put it before programs on a device with a shell: qemu-aarch64-static.",
        ),
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
            help="Run there: ssh://USER@HOST[:PORT] or adb://SERIAL, which needs but a shell; "
            "HOST:PORT of `tvmcomp devices serve`, or TRACKER:PORT/KEY.",
        ),
    ):
        decorated = option(decorated)
    return decorated


@contextmanager
def machine_for(place: Place) -> Iterator[Machine]:
    """This machine, or a session on a device, ended on exit.

    Raises:
        ConfigError, ToolError, DeviceError: as :func:`tvmcomp.devices.connect`.
    """
    if place.device is None:
        from tvmcomp.runtime.machine import ThisMachine

        yield ThisMachine()
        return
    from tvmcomp.devices import connect
    from tvmcomp.runtime.remote.shell.address import is_shell_address

    if not is_shell_address(place.device):
        from tvmcomp.runtime.tvm_runtime import prefer_runtime_library

        prefer_runtime_library()  # RPC is in TVM's package; who needs the compiler has imported it

    with connect(
        place.device, place.timeout, runner=place.runner, remote_dir=place.remote_dir
    ) as board:
        yield board
