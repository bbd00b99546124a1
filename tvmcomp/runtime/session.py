"""Run an artifact: check the inputs, run, name the outputs. Here or on a device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.model import Signature
from tvmcomp.runtime.machine import Machine, ThisMachine
from tvmcomp.runtime.threads import Pin


def load(artifact: str | Path | Artifact, threads: int | None = None, pin: Pin = False) -> Session:
    """Make an artifact ready to run on this machine.

    Args:
        artifact: a ``.tvmc`` file, or what ``tvmcomp.build`` returned.
        threads: how many to run on, the calling one included; None is one a physical core.
        pin: False lets the system move the threads between cores; True binds each to a core; a
            list of cores, one for each thread, says to which. The calling thread takes the first
            one, and is bound to it during a run alone.

    Raises:
        ArtifactError: the file can't be trusted, or was built for another machine.
        ConfigError: there are not so many threads, or no such cores.
    """
    return load_on(ThisMachine(), artifact, threads, pin)


def load_on(
    machine: Machine,
    artifact: str | Path | Artifact,
    threads: int | None = None,
    pin: Pin = False,
) -> Session:
    """Like :func:`load`, on ``machine``.

    Raises:
        DeviceError: the device fails.
    """
    begin = time.perf_counter()
    if not isinstance(artifact, Artifact):
        artifact = Artifact.load(artifact)
    session = Session(artifact, machine, threads, pin)
    session.load_seconds = time.perf_counter() - begin
    return session


class Session:
    """A loaded artifact. Calls of several threads are safe, and wait for each other.

    Attributes:
        artifact: what it runs.
        machine: where it runs.
        load_seconds: how long it took to read, verify and load the artifact.
    """

    def __init__(
        self, artifact: Artifact, machine: Machine, threads: int | None = None, pin: Pin = False
    ) -> None:
        self.artifact = artifact
        self.machine = machine
        self.load_seconds = 0.0
        self._program = machine.load(artifact, threads, pin)

    @property
    def signature(self) -> Signature:
        """Names, shapes and dtypes of inputs and outputs."""
        return self.artifact.metadata.signature

    @property
    def threads(self) -> int:
        """How many threads the kernels run on."""
        return self._program.threads.count

    @property
    def cores(self) -> tuple[int, ...] | None:
        """The core of each thread; None where the system chooses."""
        return self._program.threads.cores

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network once.

        On this machine's CPU an input is read where it lies if it is contiguous; another is
        copied first.

        Args:
            inputs: one array for each input, of exactly its shape and dtype.

        Returns:
            The outputs by name; the arrays are the caller's.

        Raises:
            InputError: a name, shape or dtype is not what the network takes.
            DeviceError: the device failed.
        """
        return self._program.run(inputs)

    def set_inputs(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Check the inputs and keep them for :meth:`time`.

        Raises:
            InputError: as :meth:`run`.
        """
        self._program.bind(inputs)

    def time(self, runs: int) -> list[float]:
        """Time ``runs`` runs one by one, where they run, with the inputs set or run last.

        Returns:
            Seconds of each, without the copies of inputs and outputs and without the network.
        """
        return self._program.time(runs)

    def run_instrumented(self, factory: str, *arguments: int, runs: int) -> None:
        """Run with the inputs set or run last, TVM calling an instrument around each kernel.

        Args:
            factory: name of a global function there that makes the instrument of ``arguments``.
            runs: how many times.
        """
        self._program.run_instrumented(factory, *arguments, runs=runs)

    def close(self) -> None:
        """Let go of the library, the weights and the tensors."""
        self._program.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
