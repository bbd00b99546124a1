"""Where artifacts run beside this machine: boards over TVM RPC, ssh and adb, by their address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvmcomp.errors import ConfigError
from tvmcomp.runtime.remote.shell.address import is_shell_address

if TYPE_CHECKING:
    from tvmcomp.runtime.remote.device import Device
    from tvmcomp.runtime.remote.shell.device import ShellDevice

#: Seconds that a whole session may take; generous, for slow boards.
TIMEOUT = 600.0


def connect(
    address: str,
    timeout: float = TIMEOUT,
    *,
    runner: str | None = None,
    remote_dir: str | None = None,
) -> Device | ShellDevice:
    """Connect to a board; use the result as a context manager, and as ``device`` of ``load``.

    Args:
        address: ``HOST:PORT`` of ``tvmcomp devices serve``, or ``TRACKER:PORT/KEY``; or
            ``ssh://[USER@]HOST[:PORT]`` or ``adb://SERIAL`` of a board with a shell, which needs
            nothing else.
        timeout: seconds that the whole session may take.
        runner: for a board with a shell, what is put before programs there.
        remote_dir: for a board with a shell, where the session makes its folder.

    Raises:
        ConfigError: the address has another form.
        ToolError: ssh, or adb, is not installed.
        DeviceError: nothing answers there, or it lets nobody in.
    """
    if is_shell_address(address):
        from tvmcomp.export.served import link_program
        from tvmcomp.runtime.remote.shell.board import open_board
        from tvmcomp.runtime.remote.shell.device import ShellDevice

        board = open_board(address, timeout, runner=runner, folder=remote_dir)
        return ShellDevice(board, link_program)
    if runner is not None or remote_dir is not None:
        raise ConfigError(
            "a runner and a folder are for boards with a shell",
            where=f"device {address}",
            hint="Those are ssh://USER@HOST and adb://SERIAL.",
        )
    from tvmcomp.runtime.remote.device import connect as connect_rpc

    return connect_rpc(address, timeout)
