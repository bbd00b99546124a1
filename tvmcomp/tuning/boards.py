"""Where kernels are measured: this machine, one board, or every board that a tracker lends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeGuard

from tvmcomp.errors import DeviceError
from tvmcomp.runtime.remote.address import Address, parse_address
from tvmcomp.runtime.remote.shell.address import is_shell_address
from tvmcomp.runtime.remote.tracker import list_devices
from tvmcomp.targets import TargetDescription, runs_here
from tvmcomp.targets.device_fingerprint import device_fingerprint
from tvmcomp.targets.fingerprint import Fingerprint, local_fingerprint
from tvmcomp.tuning.jobs import Failed, Identified, Identify, Job, Reply
from tvmcomp.tuning.pool import WorkerPool

#: A measurement that a board may have spoiled is made so often in all.
_TRIES = 3
#: A board that is gone gets so long to return where there is no other.
_RETURN_SECONDS = 60.0
#: A session's own limits, of connecting and of ending, come before the one of the worker that waits
#: for it: they know what the board was doing.
_GRACE_SECONDS = 60.0
_PAUSE_SECONDS = 3.0


class Boards:
    """A worker for each device, and what went wrong with them.

    A context manager; leaving it ends its processes.

    Args:
        target: what is measured on them.
        device: ``HOST:PORT``, ``ssh://…`` or ``adb://…`` of one board, ``TRACKER:PORT/KEY`` for all
            of the key, None for this machine.
        runner: what is put before programs on a board with a shell.

    Attributes:
        fingerprint: of the device, or of one of the boards.
        faults: how often a board failed, by what it said.

    Raises:
        DeviceError: none answers.
    """

    def __init__(
        self, target: TargetDescription, device: str | None, runner: str | None = None
    ) -> None:
        self._target = target
        self._device, self._runner = device, runner
        self.faults: Counter[str] = Counter()
        self._offered = _offered(device)
        self._pool = WorkerPool(max(1, len(self._offered)))
        try:
            # The one that a tracker lends first may be frozen, or all may be in use.
            self.fingerprint = self._wait_for_one() if self._offered else self._identify()
        except BaseException:
            self._pool.__exit__()
            raise

    def __enter__(self) -> Boards:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.__exit__()

    def run(self, jobs: Sequence[Job], timeout: float) -> Iterator[tuple[int, Reply]]:
        """As :meth:`WorkerPool.run`, on the devices."""
        return self._pool.run(jobs, timeout)

    def measure(self, jobs: Sequence[Job], session: float) -> Iterator[tuple[int, Reply]]:
        """As :meth:`run`; what a board fails at is given back, for another or the same again.

        Args:
            jobs: what to do.
            session: seconds that a session of theirs may take.

        Raises:
            DeviceError: all boards are gone, and none has returned after a minute.
        """
        waiting = list(range(len(jobs)))
        for tries in range(1, _TRIES + 1):
            given_back = []
            again = [jobs[index] for index in waiting]
            for at, reply in self._pool.run(again, _seconds_for(session)):
                # Its candidate may be at fault, too: another board will tell.
                if self._device is not None and _is_fault(reply):
                    self.faults[reply.message] += 1
                    if tries < _TRIES:
                        given_back.append(waiting[at])
                        continue
                yield waiting[at], reply
            if not given_back:
                return
            self._wait_for_one()
            waiting = given_back

    def report(self) -> dict[str, int]:
        """The faults, and the boards that the tracker had at the start and has no longer."""
        try:
            gone = self._offered - _offered(self._device)
        except DeviceError:  # so is the tracker
            gone = frozenset()
        return {
            **self.faults,
            **{f"{board} has gone from the tracker": 1 for board in gone},
        }

    def _wait_for_one(self) -> Fingerprint:
        end = time.monotonic() + _RETURN_SECONDS
        while True:
            try:
                return self._identify()
            except DeviceError:
                if time.monotonic() > end:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def _identify(self) -> Fingerprint:
        if self._device is None:
            runs = runs_here(self._target) is None
            return device_fingerprint(self._target) if runs else local_fingerprint()
        gpu = self._target.family == "cuda"
        job = Identify(self._device, runner=self._runner, gpu=gpu)
        ((_, reply),) = self._pool.run([job], _seconds_for(job.timeout))
        if not isinstance(reply, Identified):
            message = reply.message if isinstance(reply, Failed) else "no answer"
            raise DeviceError(f"can't be tuned on: {message}", where=self._device)
        return reply.fingerprint


def _seconds_for(session: float) -> float:
    """What a job may take; as long as its session may be spent on waiting for a free board."""
    return 2 * session + _GRACE_SECONDS


def _is_fault(reply: Reply) -> TypeGuard[Failed]:
    return isinstance(reply, Failed) and reply.kind in ("device", "timeout")


def _offered(device: str | None) -> frozenset[str]:
    """The boards that a tracker has under the key; none where no tracker is asked.

    Raises:
        DeviceError: the tracker does not answer.
    """
    if device is None or is_shell_address(device):
        return frozenset()
    place = parse_address(device)
    if place.key is None:
        return frozenset()
    known = list_devices(Address(place.host, place.port))
    return frozenset(board for each in known if each.key == place.key for board in each.devices)
