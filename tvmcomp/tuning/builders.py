"""Where candidates are built: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from tvmcomp.runtime.threads import logical_cpus
from tvmcomp.tuning.jobs import Job, Reply
from tvmcomp.tuning.pool import WorkerPool


class Builders(AbstractContextManager["Builders"], Protocol):
    """What builds candidates. A context manager: leaving it ends its processes."""

    def run(self, jobs: Sequence[Job], timeout: float) -> Iterator[tuple[int, Reply]]:
        """As :meth:`WorkerPool.run`."""


def open_builders(where: str | None) -> Builders:
    """The builders at ``where``.

    Args:
        where: None for this machine; ``ray`` for a cluster that Ray finds or starts here, or the
            address of one (``ray://HOST:10001``, ``HOST:6379``).

    Raises:
        ToolError: Ray is not installed, or the cluster does not answer.
    """
    if where is None:
        return WorkerPool(logical_cpus())  # LLVM compiles a candidate on one thread
    from tvmcomp.tuning.ray_builders import RayBuilders

    return RayBuilders(None if where == "ray" else where)
