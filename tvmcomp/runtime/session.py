"""Run an artifact: check the inputs, run, name the outputs. Here or on a device."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from tvmcomp.arguments import integer
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.errors import DeviceError, InputError
from tvmcomp.model import Signature
from tvmcomp.runtime.fork_lock import open_in_children
from tvmcomp.runtime.machine import Machine, ThisMachine
from tvmcomp.runtime.program import Program
from tvmcomp.runtime.states import first_values
from tvmcomp.runtime.threads import Pin


def load(
    artifact: str | Path | Artifact,
    threads: int | None = None,
    pin: Pin = False,
    *,
    device: Machine | None = None,
) -> Session:
    """Make an artifact ready to run, on this machine or on a device.

    Args:
        artifact: a ``.tvmc`` file, or what ``tvmcomp.build`` returned.
        threads: how many to run on, the calling one included; None is one a physical core.
        pin: False lets the system move the threads between cores; True binds each to a core; a
            list of cores, one for each thread, says to which. The calling thread takes the first
            one, and is bound to it during a run alone.
        device: what ``tvmcomp.connect`` gave; None for this machine. The session ends before it.

    Raises:
        ArtifactError: the file can't be trusted, or was built for another machine.
        ConfigError: there are not so many threads, or no such cores.
        DeviceError: the device fails.
    """
    return load_on(ThisMachine() if device is None else device, artifact, threads, pin)


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


#: TVM counts runs in 32 bits.
_MOST_RUNS = 2**31 - 1


class Session:
    """A loaded artifact. Calls of several threads are safe, and wait for each other.

    A network with states (a stream's; ``artifact.metadata.states``) takes and gives them as inputs
    and outputs. Where the caller gives none, the session does: each run goes on where the last one
    ended, and :meth:`reset` begins anew.

    A forked child may use it too, and shares the weights with its parent. Once it is closed, what
    needs the network raises DeviceError.

    Attributes:
        artifact: what it runs.
        machine: where it runs.
        load_seconds: how long it took to read, verify and load the artifact.
        lock: held during each call.
    """

    def __init__(
        self, artifact: Artifact, machine: Machine, threads: int | None = None, pin: Pin = False
    ) -> None:
        self.artifact = artifact
        self.machine = machine
        self.load_seconds = 0.0
        self._program: Program | None = machine.load(artifact, threads, pin)
        self._threads = self._program.threads
        self._has_inputs = not artifact.metadata.signature.inputs
        self.lock = threading.Lock()
        self._states = artifact.metadata.states
        self._kept = first_values(self._states, self.signature)
        open_in_children(self)

    @property
    def signature(self) -> Signature:
        """Names, shapes and dtypes of inputs and outputs; of several shapes, for the first."""
        return self.artifact.metadata.signature

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """The signature for each shape that the artifact was built for."""
        return self.artifact.metadata.signatures

    @property
    def threads(self) -> int:
        """How many threads the kernels run on."""
        return self._threads.count

    @property
    def cores(self) -> tuple[int, ...] | None:
        """The core of each thread; None where the system chooses."""
        return self._threads.cores

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network once.

        On this machine's CPU an input is read where it lies if it is contiguous; another is
        copied first. Of several shapes that the artifact was built for, the inputs' is taken.

        Args:
            inputs: one array for each input, of exactly its shape and dtype; states may all be
                left out.

        Returns:
            The outputs by name; the arrays are the caller's. States are among them where they were
            given.

        Raises:
            InputError: a name, shape or dtype is not what the network takes.
            ArtifactError: the network returned something else than its signature lists.
            DeviceError: the device failed, or the session is closed.
        """
        with self.lock:
            program = self._program or self._open()  # a call less where every µs counts
            if self._states and self._keeps(inputs):
                outputs = program.run({**inputs, **self._kept})
                self._kept = {state.input: outputs[state.output] for state in self._states}
                for state in self._states:
                    outputs.pop(state.output, None)
            else:
                outputs = program.run(inputs)
            self._has_inputs = True
            return outputs

    def reset(self) -> None:
        """Give the states of the network their first values again."""
        with self.lock:
            self._kept = first_values(self._states, self.signature)

    def set_inputs(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Check the inputs and keep them for :meth:`time`.

        Raises:
            InputError: as :meth:`run`.
        """
        with self.lock:
            if self._states and self._keeps(inputs):
                inputs = {**inputs, **self._kept}
            self._open().bind(inputs)
            self._has_inputs = True

    def time(self, runs: int) -> list[float]:
        """Time ``runs`` runs one by one, where they run, with the inputs set or run last.

        Returns:
            Seconds of each, without the copies of inputs and outputs and without the network.

        Raises:
            InputError: no inputs were set.
            ConfigError: ``runs`` is less than 1.
        """
        runs = integer(runs, "runs", 1, _MOST_RUNS)
        with self.lock:
            return self._ready().time(runs)

    def profile(self, runs: int) -> dict[str, list[float]]:
        """Seconds of each call of each kernel, in ``runs`` runs with the inputs set or run last.

        Raises:
            DeviceError: the device failed, or has no profiler.
        """
        runs = integer(runs, "runs", 1, _MOST_RUNS)
        with self.lock:
            return self._ready().profile(runs)

    def close(self) -> None:
        """Let go of the library, the weights and the tensors; a second time it does nothing."""
        with self.lock:
            program, self._program = self._program, None
            if program is not None:
                program.close()

    def _keeps(self, inputs: Mapping[str, np.ndarray]) -> bool:
        """Whether the states are for the session to give."""
        return isinstance(inputs, Mapping) and not any(s.input in inputs for s in self._states)

    def _open(self) -> Program:
        if self._program is None:
            raise DeviceError(
                "the session is closed", where=self.machine.name, hint="Load the artifact again."
            )
        return self._program

    def _ready(self) -> Program:
        """The program, with inputs to run on."""
        program = self._open()
        if not self._has_inputs:
            raise InputError("no inputs are set", hint="Call set_inputs(…) or run(…) first.")
        return program

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
