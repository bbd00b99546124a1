"""Build candidates and measure them: a builder's workers, a runner's worker, one call a batch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tvmcomp.errors import DeviceError
from tvmcomp.fingerprint import Fingerprint, local_fingerprint
from tvmcomp.runtime.threads import logical_cpus
from tvmcomp.targets.compatible import runs_here
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.jobs import (
    Build,
    Built,
    Compare,
    Compared,
    Failed,
    Identified,
    Identify,
    Measure,
    Measured,
    Replay,
    Replayed,
    Reply,
)
from tvmcomp.tuning.log.line import encode
from tvmcomp.tuning.log.record import Argument, Trial
from tvmcomp.tuning.pool import WorkerPool
from tvmcomp.tuning.search import Candidate
from tvmcomp.tvm_import import tvm

#: Before anything is known: a linker that builds its support library, a slow kernel on a board.
_FIRST_BUILD_SECONDS = 600.0
_FIRST_RUN_SECONDS = 300.0
#: Afterwards: so many times what it took so far, and at least so long.
_PATIENCE = 20.0
_LEAST_BUILD_SECONDS = 60.0
_LEAST_RUN_SECONDS = 30.0
#: Calls of a kernel in one measurement, about, where it is too slow to fill the time otherwise.
_CALLS = 8


class Bench:
    """Builds candidates on this machine, for ``target``, and measures them.

    Building and measuring take turns: nothing else runs while this machine is measured on. A
    context manager; leaving it ends its processes.

    Args:
        target: what to compile for.
        device: ``HOST:PORT`` or ``TRACKER:PORT/KEY`` to measure on; None for this machine.
        cc: linker command, None for the target's own.

    Raises:
        DeviceError: the device does not answer.
    """

    def __init__(
        self, target: TargetDescription, device: str | None = None, cc: str | None = None
    ) -> None:
        self._target = target
        self._device = device
        self._cc = cc
        self._cold = True
        self._build_timeout = _FIRST_BUILD_SECONDS
        with ExitStack() as stack:
            self._folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tvmcomp-tune-"))
            # LLVM compiles a candidate on one thread.
            self._builders = stack.enter_context(WorkerPool(logical_cpus()))
            self._runner = stack.enter_context(WorkerPool(1))
            self.fingerprint = self._identify()
            self._resources = stack.pop_all()

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()

    @property
    def runs(self) -> bool:
        """Whether what it builds can be run: on a device, or on this machine."""
        return self._device is not None or runs_here(self._target) is None

    def _identify(self) -> Fingerprint:
        if self._device is None:
            return local_fingerprint()
        job = Identify(self._device)
        ((_, reply),) = self._runner.run([job], job.timeout)
        if not isinstance(reply, Identified):
            message = reply.message if isinstance(reply, Failed) else "no answer"
            raise DeviceError(f"can't be tuned on: {message}", where=self._device)
        return reply.fingerprint

    def try_out(
        self,
        candidates: Sequence[Candidate],
        arguments: tuple[Argument, ...],
        expected: float | None,
    ) -> Iterator[tuple[int, Measured | Failed]]:
        """Build all ``candidates``, then measure one after the other.

        Args:
            candidates: schedules of one kernel.
            arguments: the tensors that the kernel takes.
            expected: seconds that a call of it takes, None if that is not known.

        Yields:
            (index, what came of it) of each, as soon as it is known. The kind of a failure begins
            with ``build`` or ``run``.
        """
        jobs = [
            self._build_job(str(tvm.ir.save_json(candidate.schedule.mod)), str(index))
            for index, candidate in enumerate(candidates)
        ]
        built: list[int] = []
        for index, reply in self._builders.run(jobs, self._build_timeout):
            if isinstance(reply, Built):
                built.append(index)
                slow = max(_LEAST_BUILD_SECONDS, _PATIENCE * reply.seconds)
                self._build_timeout = slow if self._cold else max(self._build_timeout, slow)
                self._cold = False
            else:
                yield index, _failure("build", reply)
        for index in sorted(built):
            yield index, self._measure(jobs[index].path, arguments, expected)
            Path(jobs[index].path).unlink()

    def replay(self, module: str, record: Trial) -> Replayed | Failed:
        """Make a record's kernel again, in a worker; see :class:`Replay`."""
        ((_, reply),) = self._builders.run([Replay(module, encode(record))], _FIRST_RUN_SECONDS)
        return reply if isinstance(reply, Replayed) else _failure("rebuild", reply)

    def time(
        self, module: str, arguments: tuple[Argument, ...], expected: float | None
    ) -> Measured | Failed:
        """Build one scheduled kernel, given as ``tvm.ir.save_json`` writes it, and measure it."""
        job = self._build_job(module, "again")
        ((_, reply),) = self._builders.run([job], self._build_timeout)
        if not isinstance(reply, Built):
            return _failure("build", reply)
        return self._measure(job.path, arguments, expected)

    def difference(self, modules: tuple[str, str], arguments: tuple[Argument, ...]) -> str:
        """Build a scheduled kernel and a reference, and run both on the same random data.

        Where the target's code runs neither here nor on a device, building it is all.

        Args:
            modules: the two, as ``tvm.ir.save_json`` writes them.
            arguments: the tensors that they take.

        Returns:
            How they differ, or what failed, in words; "" where they do the same.
        """
        jobs = [self._build_job(module, f"one-{i}") for i, module in enumerate(modules)]
        for _, reply in self._builders.run(jobs, self._build_timeout):
            if not isinstance(reply, Built):
                return _words(_failure("build", reply))
        if not self.runs:
            return ""
        timeout = _FIRST_RUN_SECONDS
        job = Compare(jobs[0].path, jobs[1].path, arguments, self._target, self._device, timeout)
        ((_, reply),) = self._runner.run([job], timeout + 10)
        return reply.difference if isinstance(reply, Compared) else _words(_failure("run", reply))

    def _build_job(self, module: str, name: str) -> Build:
        return Build(module, self._target, self._cc, str(Path(self._folder, f"{name}.so")))

    def _measure(
        self, path: str, arguments: tuple[Argument, ...], expected: float | None
    ) -> Measured | Failed:
        timeout = _FIRST_RUN_SECONDS
        if expected is not None:
            timeout = _LEAST_RUN_SECONDS + _CALLS * _PATIENCE * expected
        job = Measure(path, arguments, self._target, self._device, timeout)
        # A device's own limit comes first: it knows more of what went wrong.
        ((_, reply),) = self._runner.run([job], timeout + 10)
        if isinstance(reply, Measured):
            return reply
        if isinstance(reply, Failed) and reply.kind == "device":
            self._identify()  # raises where the device is gone; else the candidate is at fault
        return _failure("run", reply)


def _failure(doing: str, reply: Reply) -> Failed:
    assert isinstance(reply, Failed)
    return Failed(f"{doing} {reply.kind}", reply.message)


def _words(failed: Failed) -> str:
    return f"{failed.kind}: {failed.message}"
