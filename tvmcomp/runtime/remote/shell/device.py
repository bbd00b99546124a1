"""A board with a shell, as the machine that sessions run on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import ArtifactError, DeviceError
from tvmcomp.model import Signature
from tvmcomp.runtime.by_shape import by_shape
from tvmcomp.runtime.program import Program
from tvmcomp.runtime.remote.shell.board import Board
from tvmcomp.runtime.remote.shell.program import ShellProgram
from tvmcomp.runtime.threads import Pin, Threads, asked_threads
from tvmcomp.temporary_folder import temporary_folder

#: Links an artifact's static program into a folder: see ``tvmcomp.export.served``.
Link = Callable[[Artifact, Path], Path]


class ShellDevice:
    """A board, for the time of one session. Use it as a context manager.

    Nothing need be installed there: each artifact is linked here to a program that needs nothing,
    and copied.

    Attributes:
        name: the address that the person gave.
    """

    def __init__(self, board: Board, link: Link) -> None:
        self.name = board.name
        self._board = board
        self._link = link
        self._files = (f"network{number}" for number in count())
        self._programs: list[ShellProgram] = []

    def load(self, artifact: Artifact, threads: int | None = None, pin: Pin = False) -> Program:
        """Link it, copy it there, start it.

        Raises:
            ArtifactError: it is for a GPU, or for another kind of machine.
            ConfigError: the threads and the cores don't fit each other.
            ToolError: it can't be linked here.
            DeviceError: the board can't run it, or failed.
        """
        target = artifact.metadata.target
        if target.family == "cuda":
            raise ArtifactError(
                f"was built for {target.name}: only programs for CPUs run over a shell",
                hint="Run `tvmcomp devices serve` there, and give its HOST:PORT.",
            )
        self._board.check_target(target)
        wanted, cores = asked_threads(threads, pin)
        chosen = Threads(wanted or self._board.cores, cores)
        name = next(self._files)
        with temporary_folder("program") as folder:
            self._board.put(name, self._link(artifact, folder))
        programs = [
            self._start(name, shape, signature, chosen)
            for shape, signature in enumerate(artifact.metadata.signatures)
        ]
        return by_shape(artifact, programs)

    def _start(self, name: str, shape: int, signature: Signature, threads: Threads) -> ShellProgram:
        """A process for one of the network's shapes; they share the file, and so the weights."""
        arguments = ["--serve", "--shape", str(shape), "--threads", str(threads.count)]
        if threads.cores:
            arguments += ["--cores", ",".join(map(str, threads.cores))]
        running = self._board.start(name, arguments)
        try:
            program = ShellProgram(
                self._board.where, signature, running, threads, partial(self._remove, name)
            )
        except BaseException:
            running.kill()
            raise
        self._programs.append(program)
        return program

    def peak_memory(self) -> int | None:
        """Of the largest process of the session there, in bytes."""
        running = [each.peak_memory() for each in self._programs if each.is_open]
        return max(running, default=None)

    def close(self) -> None:
        """End the session; nothing stays there."""
        self._board.close()

    def __enter__(self) -> ShellDevice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _remove(self, name: str) -> None:
        with suppress(DeviceError):  # it goes with the session anyway
            self._board.remove(name)
