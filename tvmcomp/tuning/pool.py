"""Worker processes that are started once, and replaced one by one when a candidate kills them."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait

import msgspec

from tvmcomp.errors import ToolError
from tvmcomp.own_process import own_environment, own_module
from tvmcomp.tuning.jobs import Failed, Job, Lent, Reply
from tvmcomp.tuning.worker import READY

#: Importing TVM takes 2 s, and many times that on a busy machine. It is never counted as a job's.
_START_SECONDS = 300.0

#: LLVM keeps some memory of every build: a worker is replaced after so many jobs.
_JOBS_OF_A_WORKER = 500

_decoder = msgspec.msgpack.Decoder(Reply | Lent)


class _Worker:
    """One process and what it is doing.

    Attributes:
        connection: readable when the worker has something to say, or is dead.
        job: index of the job it is doing; None while it starts or waits.
        device: what the job goes on with, "" for this machine or before that is known.
        deadline: on the monotonic clock, or None while it waits.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.connection, theirs = Pipe()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed in end
        # No fork of this process, whose TVM has threads; and a session of its own, so that Ctrl-C
        # reaches the tuner only.
        self._process = subprocess.Popen(
            [*own_module("tvmcomp.tuning.worker"), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            env={**own_environment(), **environment},
            start_new_session=True,
        )
        theirs.close()
        self.ready = False
        self.job: int | None = None
        self.device = ""
        self.jobs_done = 0
        self.timeout = _START_SECONDS
        self.deadline: float | None = time.monotonic() + self.timeout

    def give(self, index: int, job: Job, timeout: float) -> None:
        self.job = index
        self.device = ""
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        with suppress(OSError):  # dead: its connection becomes readable, and take() says so
            self.connection.send_bytes(msgspec.msgpack.encode(job))

    def take(self) -> Reply | None:
        """What the worker says: a reply, None for news. Raises EOFError when it died."""
        try:
            message = self.connection.recv_bytes()
        except OSError:
            raise EOFError from None
        if message == READY and not self.ready:
            self.ready = True
            self.deadline = None
            return None
        said = _decoder.decode(message)
        if isinstance(said, Lent):
            self.device = said.device
            return None
        self.deadline = None
        self.job = None
        self.jobs_done += 1
        return said

    def end(self, grace: float = 0.0) -> str:
        """End the process and all that it started; return how it ended, in words.

        Args:
            grace: seconds that it gets to end by itself, so that its own exit status is seen.
        """
        if self.connection.closed:
            return "ended before"
        if grace:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        self.connection.close()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        self._stderr.close()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"{how}: {said[0][:200]}" if said else how


class WorkerPool:
    """A number of workers. A context manager: leaving it ends them.

    Args:
        size: how many processes.
        environment: variables set for them, on top of this process's.
    """

    def __init__(self, size: int, environment: dict[str, str] | None = None) -> None:
        self._environment = environment or {}
        self._workers = [_Worker(self._environment) for _ in range(size)]

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers."""
        return [worker._process.pid for worker in self._workers]

    def run(self, jobs: Sequence[Job], timeout: float) -> Iterator[tuple[int, Reply]]:
        """Do ``jobs``, and yield (index, reply) of each as it is done, in any order.

        Args:
            jobs: what to do.
            timeout: seconds that one job may take.

        Raises:
            ToolError: workers can't be started.
        """
        waiting = list(range(len(jobs) - 1, -1, -1))
        left = len(jobs)
        while left:
            for worker in self._workers:
                if waiting and worker.ready and worker.job is None:
                    index = waiting.pop()
                    worker.give(index, jobs[index], timeout)
            for index, reply in self._collect():
                left -= 1
                yield index, reply

    def _collect(self) -> Iterator[tuple[int, Reply]]:
        """Wait until something happens; yield the replies, and replace workers that are gone."""
        now = time.monotonic()
        deadlines = [worker.deadline for worker in self._workers if worker.deadline is not None]
        pause = max(0.0, min(deadlines) - now) if deadlines else None
        heard = wait([worker.connection for worker in self._workers], pause)
        now = time.monotonic()
        for position, worker in enumerate(self._workers):
            index = worker.job
            reply: Reply | None
            if worker.connection in heard:
                try:
                    reply = worker.take()
                except EOFError:
                    reply = self._replace(position, Failed("crash", worker.end(grace=10)))
            elif worker.deadline is not None and worker.deadline <= now:
                worker.end()
                doing = f" on device {worker.device}" if worker.device else ""
                message = f"killed after {worker.timeout:.0f} s{doing}"
                reply = self._replace(position, Failed("timeout", message))
            else:
                continue
            if worker.jobs_done >= _JOBS_OF_A_WORKER:
                worker.end()
                self._workers[position] = _Worker(self._environment)
            if index is not None and reply is not None:
                yield index, reply

    def _replace(self, position: int, failure: Failed) -> Failed:
        if not self._workers[position].ready:
            raise ToolError(
                f"a tuning worker does not start: {failure.message}",
                hint="Try `python -m tvmcomp.tuning.worker 0`.",
            )
        self._workers[position] = _Worker(self._environment)
        return failure
