"""A real sshd on loopback, with keys and known hosts of its own, and an ssh that knows them."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from needed import missing
from waiting import LIMIT, run

#: Of a client: its own key, and nothing of the machine's or the person's configuration.
CLIENT = """\
Host *
  IdentityFile {folder}/{key}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/{known}
  GlobalKnownHostsFile /dev/null
  PasswordAuthentication no
"""
SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
"""
#: A login that prints before anything else, as some .bashrc do.
NOISY = 'command="echo Welcome; echo to the board; eval \\"$SSH_ORIGINAL_COMMAND\\"" '


class SshServer:
    """A running sshd. ``ssh`` on the PATH is a client that knows it; see :meth:`client`."""

    def __init__(self, folder: Path, sshd: str, port: int) -> None:
        self.folder = folder
        self.port = port
        self.bin = folder / "bin"
        self.bin.mkdir()
        (folder / "sshd_config").write_text(SERVER.format(folder=folder, port=port))
        for name in ("host", "other_host", "key", "noisy_key", "unknown_key"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name])
        public = {name: (folder / f"{name}.pub").read_text() for name in ("key", "noisy_key")}
        (folder / "authorized").write_text(public["key"] + NOISY + public["noisy_key"])
        for known, host in (("known", "host"), ("changed", "other_host")):
            kind, key, *_ = (folder / f"{host}.pub").read_text().split()
            (folder / known).write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
        (folder / "nothing").touch()
        self.client()
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(folder / "sshd_config")],
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + LIMIT
        while not _listens(port):
            assert self.process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "sshd does not listen"
            time.sleep(0.02)

    @property
    def address(self) -> str:
        """Of the user that the tests run as."""
        return f"ssh://{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1:{self.port}"

    def client(self, key: str = "key", known: str = "known") -> None:
        """Let ``ssh`` log in with a key, and know the hosts of a file."""
        (self.folder / "config").write_text(CLIENT.format(folder=self.folder, key=key, known=known))
        real = shutil.which("ssh", path=os.defpath)
        script = f'#!/bin/sh\nexec {real} -F {shlex.quote(str(self.folder / "config"))} "$@"\n'
        (self.bin / "ssh").write_text(script)
        (self.bin / "ssh").chmod(0o755)

    def sessions(self) -> list[psutil.Process]:
        """The server's processes of connections."""
        return psutil.Process(self.process.pid).children()

    def cut(self) -> None:
        """End all connections, as a cut wire does."""
        for session in self.sessions():
            for process in [session, *session.children()]:
                if process.name().startswith("sshd"):
                    process.kill()

    def end(self) -> None:
        """End the server."""
        self.process.terminate()
        self.process.wait(10)
        self._log.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Start one; where there is no sshd the test is skipped, and in CI fails."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or shutil.which("ssh") is None:
        missing("needs sshd and ssh; they come with Debian's openssh-server, openssh-client")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # it asks for it
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = SshServer(folder, sshd, port)
    try:
        yield server
    finally:
        server.end()
