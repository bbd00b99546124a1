"""What ``--device`` names: a server, or a device known to a tracker."""

from __future__ import annotations

from dataclasses import dataclass

from tvmcomp.errors import ConfigError


@dataclass(frozen=True)
class Address:
    """``HOST:PORT`` of a server, or of a tracker when there is a key."""

    host: str
    port: int
    key: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + (f"/{self.key}" if self.key else "")


def parse_address(text: str) -> Address:
    """Parse ``HOST:PORT`` or ``HOST:PORT/KEY``; an IPv6 host stands in brackets.

    Raises:
        ConfigError: it is neither.
    """
    place, slash, key = text.partition("/")
    host, _, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or (slash and not key):
        raise ConfigError(
            f"{text!r} is neither HOST:PORT nor TRACKER:PORT/KEY",
            hint="Examples: 192.168.1.20:9090, or 127.0.0.1:9190/rpi4 through a tracker.",
        )
    return Address(host, int(port), key or None)
