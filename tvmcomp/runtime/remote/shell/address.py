"""``ssh://[USER@]HOST[:PORT]`` and ``adb://SERIAL``: boards that are reached through a shell."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tvmcomp.errors import ConfigError

_SCHEMES = ("ssh://", "adb://")
#: What the names of users, hosts and devices are made of. Not more: they become arguments of
#: programs, and of the commands in a person's ssh configuration. None begins with a dash.
_NAME = r"[A-Za-z0-9_.][A-Za-z0-9_.-]*"
_IPV6 = r"\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]"
_SSH = re.compile(rf"(?:(?P<user>{_NAME})@)?(?P<host>{_NAME}|{_IPV6})(?::(?P<port>\d{{1,5}}))?/?")
_SERIAL = re.compile(r"[A-Za-z0-9_.\[][A-Za-z0-9_.:%\[\]-]*")


@dataclass(frozen=True)
class SshAddress:
    """A host that ssh knows; None is what ssh's configuration says."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def login(self) -> str:
        """``user@host``, as ssh takes it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"ssh://{user}{host}" + (f":{self.port}" if self.port else "")


@dataclass(frozen=True)
class AdbAddress:
    """A device that ``adb devices`` lists."""

    serial: str

    def __str__(self) -> str:
        return f"adb://{self.serial}"


def is_shell_address(text: str) -> bool:
    """Whether ``text`` begins as one of these addresses does."""
    return text.startswith(_SCHEMES)


def parse_shell_address(text: str) -> SshAddress | AdbAddress:
    """Parse either form; an IPv6 host stands in brackets.

    Raises:
        ConfigError: it is neither.
    """
    if text.startswith("adb://") and _SERIAL.fullmatch(text[6:]):
        return AdbAddress(text[6:])
    found = _SSH.fullmatch(text[6:]) if text.startswith("ssh://") else None
    port = int(found["port"]) if found and found["port"] else None
    if found is None or not (port is None or 0 < port < 65536):
        raise ConfigError(
            f"{text!r} is neither ssh://[USER@]HOST[:PORT] nor adb://SERIAL",
            hint="Examples: ssh://pi@192.168.1.20, ssh://board:2222, adb://emulator-5554.",
        )
    return SshAddress(found["host"].strip("[]"), found["user"], port)
