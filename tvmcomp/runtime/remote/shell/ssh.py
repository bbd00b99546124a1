"""Boards over ssh: OpenSSH's own client, with the person's configuration, keys and known hosts.

It asks nothing: a host whose key is not known, or a login that needs a password, is an error. What
it is told here never weakens what the person's configuration says of host keys.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tvmcomp.errors import DeviceError, ToolError
from tvmcomp.runtime.remote.shell.address import SshAddress
from tvmcomp.runtime.remote.shell.transport import last_line

_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    # A board that says nothing for so long is gone: three times this, in seconds.
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
    "RemoteCommand": "none",
    "ClearAllForwardings": "yes",
    "ControlPersist": "no",
}


class Ssh:
    """The :class:`~tvmcomp.runtime.remote.shell.transport.Transport` of ``ssh://``.

    All commands share the connection of the first one.

    Raises:
        ToolError: there is no client on this machine.
    """

    def __init__(self, address: SshAddress) -> None:
        if shutil.which("ssh") is None:
            raise ToolError(
                "the program ssh is not installed",
                where=str(address),
                hint="It is OpenSSH's client: on Debian `apt install openssh-client`.",
            )
        self.name = str(address)
        self._address = address
        # Not in TMPDIR, whose path may be longer than a socket's can be.
        self._folder = Path(tempfile.mkdtemp(prefix="tvmcomp-ssh-", dir="/tmp"))

    def first(self, line: str) -> list[str]:
        """The one that has the connection."""
        return self._command("yes", line)

    def more(self, line: str) -> list[str]:
        """One that uses it."""
        return self._command("no", line)

    def copy(self, source: str, place: str) -> None:
        """None: what the shell reads is copied without a second protocol."""
        return

    def refusal(self, errors: str) -> DeviceError:
        """Why ssh has no connection."""
        port = f"-p {self._address.port} " if self._address.port else ""
        by_hand = f"ssh {port}{self._address.login}"
        where = f"device {self.name}"
        if "IDENTIFICATION HAS CHANGED" in errors:
            return DeviceError(
                "its host key is not the one that is known: another machine answers there, or it "
                "was set up anew",
                where=where,
                hint=f"If you know why, see `{by_hand}` and `ssh-keygen -R`.",
            )
        if "Host key verification failed" in errors or "host key is known" in errors:
            return DeviceError(
                "its host key is not known",
                where=where,
                hint=f"Connect once with `{by_hand}` and compare the key that it shows.",
            )
        if "Permission denied" in errors or "Too many authentication failures" in errors:
            return DeviceError(
                f"lets nobody in as {self._address.login}: {last_line(errors)}",
                where=where,
                hint=f"`{by_hand}` must log in without a password; `ssh-copy-id` brings it a key.",
            )
        return DeviceError(
            f"does not answer: {last_line(errors)}",
            where=where,
            hint=f"Is it on, does its ssh server run, is the address right? Try `{by_hand}`.",
        )

    def close(self) -> None:
        """Remove the folder of the connection's socket."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _command(self, master: str, line: str) -> list[str]:
        options = {
            **_OPTIONS, "ControlMaster": master, "ControlPath": str(self._folder / "connection"),
        }  # fmt: skip
        command = ["ssh", "-T", *(f"-o{name}={value}" for name, value in options.items())]
        if self._address.port is not None:
            command += ["-p", str(self._address.port)]
        return [*command, "--", self._address.login, line]
