"""``tvmcomp devices``: lend this machine to others, keep a tracker, list what a tracker knows."""

from __future__ import annotations

import logging

import click
from rich.table import Table

from tvmcomp.cli.common import err, json_option, out, print_json

_WARNING = """TVM's RPC runs whatever it is sent, with this user's rights, and encrypts nothing.
Keep it on loopback behind an SSH tunnel, or on a network where you trust everyone."""

_host = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 lets the whole network in.",
)


@click.group("devices")
def command() -> None:
    """Boards over TVM RPC: lend one, track many, list them.

    TVM's RPC runs whatever it is sent, with the rights of the user who started the server, and
    encrypts nothing. Servers listen on loopback unless told otherwise; keep them on a trusted
    network, or reach them through an SSH tunnel.

    \b
    Example, on the board and then on your machine:
      tvmcomp devices serve
      ssh -N -L 9090:127.0.0.1:9090 board &
      tvmcomp bench net.tvmc --device 127.0.0.1:9090
    """


@command.command("serve")
@_host
@click.option("--port", type=click.IntRange(0, 65535), default=9090, show_default=True)
@click.option("--tracker", metavar="HOST:PORT", help="Register at this tracker; needs --key.")
@click.option("--key", default="", help="What clients ask the tracker for, such as rpi4.")
@click.option(
    "--session-limit",
    type=click.FloatRange(min=1),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="End a session after this where its client sets no limit itself (tvmcomp's does).",
)
@click.option("--quiet", is_flag=True, help="Say nothing of sessions.")
def serve_command(
    host: str, port: int, tracker: str | None, key: str, session_limit: float, quiet: bool
) -> None:
    """Lend this machine until Ctrl-C, one session at a time.

    Each session gets a process and a folder of its own; both are removed when it ends, also when
    it crashes, takes too long, or its client disappears. Up to 32 clients wait for theirs; who
    connects and says nothing keeps no one out. TVM's RPC runs whatever it is sent: keep
    it on loopback behind an SSH tunnel, or on a network where you trust everyone.

    \b
    Example:
      tvmcomp devices serve --tracker 192.168.1.2:9190 --key rpi4 --host 0.0.0.0
    """
    from tvmcomp.errors import ConfigError
    from tvmcomp.runtime.remote.address import parse_address

    if bool(tracker) != bool(key):
        raise ConfigError(
            "--tracker and --key belong together",
            hint="The key is what clients ask the tracker for: --tracker HOST:PORT --key rpi4.",
        )
    place = parse_address(tracker) if tracker else None
    from tvmcomp.runtime.tvm_runtime import prefer_runtime_library

    prefer_runtime_library()
    from tvmcomp.runtime.remote.serve import listen, serve

    _start_logging(quiet)
    listener = listen(host, port)
    _announce("serving", host, listener.getsockname()[1])
    serve(listener, place, key, session_limit)


@command.command("tracker")
@_host
@click.option("--port", type=click.IntRange(0, 65535), default=9190, show_default=True)
def tracker_command(host: str, port: int) -> None:
    """Keep a tracker until Ctrl-C: boards register there, clients ask it for one by key.

    A tracker believes whoever connects: keep it on loopback or on a trusted network.

    \b
    Example:
      tvmcomp devices tracker --host 0.0.0.0
    """
    from tvmcomp.runtime.tvm_runtime import prefer_runtime_library

    prefer_runtime_library()
    from tvmcomp.runtime.remote.serve import listen, track

    _start_logging(quiet=False)
    listener = listen(host, port)
    _announce("tracking", host, listener.getsockname()[1])
    track(listener)


@command.command("list")
@click.option("--tracker", metavar="HOST:PORT", required=True)
@json_option
def list_command(tracker: str, as_json: bool) -> None:
    """List the devices that a tracker knows.

    \b
    Example:
      tvmcomp devices list --tracker 127.0.0.1:9190
    """
    from tvmcomp.runtime.tvm_runtime import prefer_runtime_library

    prefer_runtime_library()
    import msgspec

    from tvmcomp.runtime.remote.address import parse_address
    from tvmcomp.runtime.remote.tracker import list_devices

    found = list_devices(parse_address(tracker))
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    table = Table("key", "devices")
    for column in ("free", "waiting"):
        table.add_column(column, justify="right")
    for status in found:
        table.add_row(status.key, ", ".join(status.devices), str(status.free), str(status.waiting))
    out.print(table if found else "the tracker knows no device")


def _start_logging(quiet: bool) -> None:
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )


def _announce(doing: str, host: str, port: int) -> None:
    out.print(f"{doing} on {host}:{port}, Ctrl-C stops it")
    out.file.flush()
    if host not in ("127.0.0.1", "::1", "localhost"):
        err.print(f"[yellow]{_WARNING}[/yellow]")
