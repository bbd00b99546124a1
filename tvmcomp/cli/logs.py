"""``tvmcomp logs``: look into tuning logs, check them, and move records between them."""

from __future__ import annotations

import click

from tvmcomp.cli import logs_exchange, logs_look, logs_move, logs_verify


@click.group("logs")
def command() -> None:
    """Look into tuning logs, check them, and move records between them.

    A LOG is a folder, an SQLite file (PATH.db), or postgresql://USER@HOST/DATABASE. Where none is
    given, it is your own folder, which `tvmcomp tune` and `tvmcomp build` use, too.

    \b
    Examples:
      tvmcomp logs stats tuning_logs
      tvmcomp logs push postgresql://team@logs.local/tuning
      tvmcomp logs verify --target rpi4 --device 192.168.1.20:9090
    """


for _module in (logs_look, logs_verify, logs_move, logs_exchange):
    for _command in _module.COMMANDS:
        command.add_command(_command)
