"""A folder on a board, for as long as a connection to it lasts: copy files there, run them.

The folder is new, and nothing is written outside of it. It goes with the connection, however that
ends; ``scripts.py`` says how.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import IO

from tvmcomp.errors import ArtifactError, ConfigError, DeviceError
from tvmcomp.runtime.remote.shell import failures, scripts
from tvmcomp.runtime.remote.shell.adb import Adb
from tvmcomp.runtime.remote.shell.address import SshAddress, parse_shell_address
from tvmcomp.runtime.remote.shell.channel import Channel, Finished, FloodError, OverdueError
from tvmcomp.runtime.remote.shell.held_folder import HeldFolder
from tvmcomp.runtime.remote.shell.running import MOST_OUTPUT, Running
from tvmcomp.runtime.remote.shell.ssh import Ssh
from tvmcomp.runtime.remote.shell.transport import Transport
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.features import architecture

#: Seconds that a whole session may take; generous, for slow boards.
DEFAULT_TIMEOUT = 600.0
#: For what ends a program there.
_END_SECONDS = 15.0
#: Bytes of one program's output.
_MOST_OUTPUT = 1 << 24
#: Bytes of a file there; what the system tells of many CPUs takes hundreds of kB.
_MOST_FILE = 1 << 20
#: Lines before a program's output: greetings of the login shell.
_MOST_LINES = 1000


def open_board(
    address: str,
    timeout: float = DEFAULT_TIMEOUT,
    *,
    runner: str | None = None,
    folder: str | None = None,
) -> Board:
    """Connect to a board, and make a folder there.

    Args:
        address: ``ssh://[USER@]HOST[:PORT]`` or ``adb://SERIAL``.
        timeout: seconds that the whole session may take.
        runner: what is put before programs there: ``qemu-aarch64-static``, ``taskset 4``.
        folder: where to make the folder; None is ``$TMPDIR`` there, or ``/tmp``.

    Raises:
        ConfigError: the address, the runner or the folder makes no sense.
        ToolError: the client, ssh or adb, is not installed.
        DeviceError: it does not answer, lets nobody in, or has no place for a folder.
    """
    place = parse_shell_address(address)
    if folder is not None and not (folder.startswith("/") and folder.isprintable()):
        raise ConfigError(f"{folder!r} is no absolute path", where="--remote-dir")
    try:
        before = shlex.split(runner or "")
    except ValueError as error:
        raise ConfigError(f"{runner!r} is no command: {error}", where="--runner") from None
    transport: Transport = Ssh(place) if isinstance(place, SshAddress) else Adb(place)
    return Board(transport, timeout, before, folder or "")


class Board:
    """A board with a folder of ours. Use it as a context manager.

    Attributes:
        name: the address that the person gave.
        where: the same, for messages.
        machine: what ``uname -m`` says.
        cores: physical cores that programs may use.
        timeout: seconds that the session may take.
        deadline: when it ends.
    """

    def __init__(
        self, transport: Transport, timeout: float, runner: Sequence[str], base: str
    ) -> None:
        self.name = transport.name
        self.where = f"device {self.name}"
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self._transport = transport
        self._runner = runner
        self._words = map(str, count())
        try:
            self._folder = HeldFolder(transport, base, timeout)
        except BaseException:
            transport.close()
            raise
        self.machine, self.cores = self._folder.machine, self._folder.cores

    def check_target(self, target: TargetDescription) -> None:
        """Raise ArtifactError if programs for ``target`` are for another kind of machine.

        Behind a runner nothing is known of what can run.
        """
        wanted, there = architecture(target.triple), architecture(self.machine)
        as_32_bit = (wanted, there) == ("armv7", "aarch64")  # most can
        if wanted != there and not as_32_bit and not self._runner:
            raise ArtifactError(
                f"was built for {target.name} ({target.triple}) and can't run on the {self.where} "
                f"({self.machine}): it needs the architecture {wanted}",
                hint="Build it with a --target that fits the device (`tvmcomp targets list`), or "
                "name an emulator there: --runner qemu-aarch64-static.",
            )

    def put(self, name: str, source: Path) -> None:
        """Copy the file ``source`` to the folder, as the program ``name``.

        Raises:
            DeviceError: there is no room, or the connection broke.
        """
        size = source.stat().st_size
        doing = f"copying {size} bytes there"
        if pushed := self._transport.copy(str(source), f"{self._folder.path}/{name}"):
            self._finish(pushed, doing)
            self._finish(self._script(scripts.ALLOW, name), doing)
            return
        with source.open("rb") as file:
            done = self._finish(self._script(scripts.TAKE, name), doing, file)
        if done.output.split()[-1:] != [b"%d" % size]:
            raise DeviceError(f"has not taken all of the {size} bytes", where=self.where)

    def remove(self, *names: str) -> None:
        """Remove files from the folder."""
        self._finish(self._script(scripts.REMOVE, *names), "removing files there")

    def read(self, path: str, most: int = _MOST_FILE) -> bytes:
        """The bytes of a file there.

        Raises:
            DeviceError: it can't be read, or has more than ``most``.
        """
        doing = f"reading {path}"
        with Running(self, self._transport.more(scripts.call(scripts.READ, path))) as running:
            self._skip_greeting(running, doing)
            done = running.finish(doing, most=most)
        return self._checked(done, doing).output

    def start(self, name: str, arguments: Sequence[str] = ()) -> Running:
        """Start the program ``name`` of the folder, behind the runner.

        Raises:
            DeviceError: the connection broke.
        """
        word = next(self._words)
        command = self._script(scripts.RUN, word, *self._runner, f"./{name}", *arguments)
        running = Running(self, command, partial(self._stop, word))
        try:
            self._skip_greeting(running, f"starting {name}")
        except BaseException:
            running.kill()
            raise
        return running

    def run(
        self,
        name: str,
        arguments: Sequence[str] = (),
        timeout: float | None = None,
        given: bytes = b"",
        most: int = _MOST_OUTPUT,
    ) -> Finished:
        """Run the program ``name`` of the folder to its end.

        Args:
            name: what :meth:`put` called it.
            arguments: for it.
            timeout: seconds after which it is killed; None is what is left of the session's.
            given: its standard input.
            most: bytes of its output that are taken.

        Returns:
            Its exit status, 128 and more for a signal, and what it printed.

        Raises:
            DeviceError: it takes too long, prints too much, or the connection broke.
        """
        with self.start(name, arguments) as running:
            return running.finish(f"running {name}", given, most, timeout)

    def is_held(self, seconds: float) -> bool:
        """Whether the connection, and with it the folder, is still there after some seconds."""
        return self._folder.is_held(seconds)

    def close(self) -> None:
        """End what runs there, remove the folder, end the connection."""
        self._folder.close()
        self._transport.close()

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _script(self, script: str, *arguments: str) -> list[str]:
        """What runs a script in the folder."""
        return self._transport.more(scripts.call(script, self._folder.path, *arguments))

    def _skip_greeting(self, running: Running, doing: str) -> None:
        """Read what a login prints before the script's own output."""
        for _ in range(_MOST_LINES):
            if running.line(doing) == scripts.STARTED:
                return
        raise failures.flood_error(self.where, doing)

    def _finish(
        self, command: Sequence[str], doing: str, source: IO[bytes] | None = None
    ) -> Finished:
        """Run a command that must succeed."""
        with Running(self, command, source=source) as running:
            return self._checked(running.finish(doing, most=MOST_OUTPUT), doing)

    def _checked(self, done: Finished, doing: str) -> Finished:
        """What a command did that must succeed."""
        if done.status:
            raise failures.program_error(self.where, doing, self.machine, done)
        return done

    def _stop(self, word: str) -> None:
        """End a program. A board that is gone does it by itself."""
        channel = Channel(self._script(scripts.STOP, word))
        with suppress(OverdueError, FloodError):
            channel.finish(time.monotonic() + _END_SECONDS)
        channel.kill()
