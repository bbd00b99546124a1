"""Devices over adb, Android's debug bridge: its own client and server do the talking.

The device's shell must pass on exit statuses and keep standard error apart: Android 7 or newer.
"""

from __future__ import annotations

import shutil

from tvmcomp.errors import DeviceError, ToolError
from tvmcomp.runtime.remote.shell.address import AdbAddress
from tvmcomp.runtime.remote.shell.transport import last_line


class Adb:
    """The :class:`~tvmcomp.runtime.remote.shell.transport.Transport` of ``adb://``.

    Raises:
        ToolError: there is no client on this machine.
    """

    def __init__(self, address: AdbAddress) -> None:
        if shutil.which("adb") is None:
            raise ToolError(
                "the program adb is not installed",
                where=str(address),
                hint="It comes with Android's platform tools: on Debian `apt install adb`.",
            )
        self.name = str(address)
        self._serial = address.serial

    def first(self, line: str) -> list[str]:
        """As any other: adb's server has one connection for all."""
        return self.more(line)

    def more(self, line: str) -> list[str]:
        """A shell without a terminal."""
        return ["adb", "-s", self._serial, "shell", "-T", line]

    def copy(self, source: str, place: str) -> list[str]:
        """``adb push``, which is faster than a shell."""
        return ["adb", "-s", self._serial, "push", source, place]

    def refusal(self, errors: str) -> DeviceError:
        """Why adb has no connection."""
        return DeviceError(
            f"does not answer: {last_line(errors)}",
            where=f"device {self.name}",
            hint="See `adb devices`: it must be listed as `device`, not offline or unauthorized.",
        )

    def close(self) -> None:
        """Nothing is left."""
