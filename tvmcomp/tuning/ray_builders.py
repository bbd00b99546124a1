"""Builders on a Ray cluster: an actor for each processor, replaced by Ray when it dies.

Each machine of the cluster needs Python, tvmcomp and TVM as this one has them. Jobs and replies
travel as msgpack, the libraries as bytes beside them.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tvmcomp.errors import ToolError
from tvmcomp.tuning.jobs import Build, Built, Failed, Job, Reply

#: An actor that died with a job gives it back; a job that kills every actor is a crash.
_TRIES = 3
#: An actor imports TVM before its first job.
_START_SECONDS = 120.0
_CONNECT_SECONDS = 10.0

_decoder = msgspec.msgpack.Decoder(Reply)


class RayBuilders:
    """A context manager; leaving it ends the actors, and the cluster where it started one.

    Args:
        address: of the cluster, as ``ray.init`` takes it; None for one that Ray finds, or starts
            on this machine.

    Raises:
        ToolError: Ray is not installed, or the cluster does not answer or lacks tvmcomp.
    """

    def __init__(self, address: str | None) -> None:
        self._ray, self._own = join(address)
        # Restarted for ever; what it was doing is given back here, and not by Ray.
        actor = self._ray.remote(num_cpus=1, max_restarts=-1)(_Builder)
        processors = int(self._ray.cluster_resources().get("CPU", 1))
        self._actors = [actor.remote() for _ in range(max(1, processors))]

    def __enter__(self) -> RayBuilders:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        if self._own:
            self._ray.shutdown()

    def run(self, jobs: Sequence[Job], timeout: float) -> Iterator[tuple[int, Reply]]:
        """As :meth:`tvmcomp.tuning.pool.WorkerPool.run`."""
        waiting = list(range(len(jobs) - 1, -1, -1))
        idle = list(self._actors)
        doing: dict[Any, tuple[int, Any, float]] = {}
        tries: Counter[int] = Counter()
        while waiting or doing:
            while waiting and idle:
                index, actor = waiting.pop(), idle.pop()
                deadline = time.monotonic() + timeout + _START_SECONDS
                ref = actor.do.remote(msgspec.msgpack.encode(jobs[index]))
                doing[ref] = (index, actor, deadline)
            first = min(deadline for _, _, deadline in doing.values())
            pause = max(0.0, first - time.monotonic())
            ready, _ = self._ray.wait(list(doing), num_returns=1, timeout=pause)
            late = [ref for ref in doing if doing[ref][2] <= time.monotonic() and ref not in ready]
            for ref in late:
                index, actor, _ = doing.pop(ref)
                self._ray.kill(actor, no_restart=False)
                idle.append(actor)
                yield index, Failed("timeout", f"killed after {timeout:.0f} s")
            for ref in ready:
                index, actor, _ = doing.pop(ref)
                idle.append(actor)
                reply = self._result(ref, jobs[index])
                if reply is None:
                    tries[index] += 1
                    if tries[index] < _TRIES:
                        waiting.append(index)
                        continue
                    reply = Failed("crash", f"{_TRIES} Ray actors died of it")
                yield index, reply

    def _result(self, ref: Any, job: Job) -> Reply | None:
        """What an actor says, its library written here; None where it died."""
        try:
            text, library = self._ray.get(ref)
        except self._ray.exceptions.RayActorError:
            return None
        except self._ray.exceptions.RayTaskError as error:
            raise ToolError(
                f"the Ray cluster can't build: {str(error).strip().splitlines()[-1]}",
                hint="Each of its machines needs this version of tvmcomp.",
            ) from error
        reply: Reply = _decoder.decode(text)
        if isinstance(job, Build) and isinstance(reply, Built):
            Path(job.path).write_bytes(library)
        return reply


def join(address: str | None) -> tuple[Any, bool]:
    """The module ``ray``, in a cluster; and whether this process was in none before.

    Args:
        address: of the cluster, as ``ray.init`` takes it; None for one that Ray finds, or starts
            on this machine.

    Raises:
        ToolError: Ray is not installed, or the cluster does not answer.
    """
    ray = _ray()
    own = not ray.is_initialized()
    if own:
        if address is not None:
            _reach(address)
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise _no_answer(error) from error
    return ray, own


class _Builder:
    """What an actor does; Ray makes one in a process of the cluster."""

    def do(self, text: bytes) -> tuple[bytes, bytes]:
        """Do a job; return the reply and, of a build, the library."""
        from tvmcomp.tuning.jobs import Job
        from tvmcomp.tuning.worker import perform

        job = msgspec.msgpack.decode(text, type=Job)
        if not isinstance(job, Build):
            return msgspec.msgpack.encode(perform(job)), b""
        with tempfile.TemporaryDirectory(prefix="tvmcomp-ray-") as folder:
            path = Path(folder, "candidate.so")
            reply = perform(msgspec.structs.replace(job, path=str(path)))
            library = path.read_bytes() if isinstance(reply, Built) else b""
        return msgspec.msgpack.encode(reply), library


def _reach(address: str) -> None:
    """Raise ToolError where nothing listens at an address: Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # one of Ray's own words, such as "auto"
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise _no_answer(error) from error


def _no_answer(error: Exception) -> ToolError:
    return ToolError(
        f"the Ray cluster does not answer: {str(error).splitlines()[0]}",
        hint="Start one with `ray start --head`, or give its address to --builders.",
    )


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ToolError(
            "building on a Ray cluster needs Ray", hint="pip install 'tvmcomp[ray]'"
        ) from None
    return ray
