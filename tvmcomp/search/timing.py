"""Time what was built, where it is to run, in turns with the network as it was."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from numpy.typing import NDArray

from tvmcomp.compress.samples import Sample
from tvmcomp.errors import DeviceError
from tvmcomp.formats.measure import time_in_turns
from tvmcomp.own_process import run_tvmcomp
from tvmcomp.runtime.example_inputs import example_inputs
from tvmcomp.runtime.machine import Machine, ThisMachine
from tvmcomp.runtime.profile import profile_calls
from tvmcomp.runtime.session import Session, load_on
from tvmcomp.search.judging import Run
from tvmcomp.search.operator_times import operator_times

_CONNECT_SECONDS = 3600.0
#: Times as long as usual that the fastest run of a network may take before more turns are taken;
#: the seconds that these may last; and what it is believed to be slowed down by at most.
_DISTURBED, _PATIENCE, _MOST_DISTURBED = 1.2, 15.0, 2.0
#: Runs that kernels are timed in.
_PROFILED = 15


class Timed(msgspec.Struct, frozen=True):
    """What was built, on the device.

    Attributes:
        file_bytes: of the artifact.
        p50_ms, p99_ms: latency: the original's first median, times the ratio of the fastest runs of
            both, taken in turns.
        peak_memory_bytes: largest resident memory of the process that ran it; None: unknown.
        machine: where.
        operators_ms: of each operator of the source model, by its identifier; see
            :func:`tvmcomp.search.operator_times.operator_times`.
    """

    file_bytes: int
    p50_ms: float
    p99_ms: float
    peak_memory_bytes: int | None
    machine: str
    operators_ms: dict[str, float] = {}


class Beside(msgspec.Struct, frozen=True):
    """What artifacts are timed in turns with: the original's, and its median latency."""

    artifact: Path
    p50_ms: float


@contextmanager
def machine_of(device: str | None) -> Iterator[Machine]:
    """A device; None is this machine."""
    if device is None:
        yield ThisMachine()
        return
    from tvmcomp.devices import connect

    with connect(device, _CONNECT_SECONDS) as board:
        yield board


@contextmanager
def running(artifact: Path, device: str | None) -> Iterator[Run]:
    """What was built, where it is to run."""
    with machine_of(device) as machine, load_on(machine, artifact) as made:

        def run(sample: Sample) -> Mapping[str, NDArray]:
            return made.run(dict(sample))

        yield run


def benched(artifact: Path, device: str | None, beside: Beside | None) -> Timed:
    """Time an artifact: memory and tail by ``tvmcomp bench``, in a process of its own, whose memory
    is the network's and not torch's; its median beside the original's in turns.

    Args:
        artifact: its file.
        device: where; None is this machine.
        beside: the original; None where this is it.

    Raises:
        DeviceError: it could not be timed.
    """
    there = [] if device is None else ["--device", device]
    found, problem = run_tvmcomp("bench", artifact, *there)
    try:
        peak, p50, p99 = found["peak_memory_mib"], float(found["p50_ms"]), float(found["p99_ms"])
        machine = str(found["machine"])
        memory = None if peak is None else int(peak * 2**20)
    except (KeyError, TypeError, ValueError):
        why = (problem or "bench gave no times").removeprefix("error: ")
        raise DeviceError(
            f"a network could not be timed: {why}",
            where="this machine" if device is None else device,
            hint="What was measured is kept: the same command goes on from there.",
        ) from None
    with machine_of(device) as place, ExitStack() as stack:
        session = stack.enter_context(load_on(place, artifact))
        ms = p50
        if beside is not None:
            other = stack.enter_context(load_on(place, beside.artifact))
            ms = beside.p50_ms * _ratio(other, session, 1e-3 * beside.p50_ms)
        operators = operator_times(session.artifact.metadata, _calls(session), ms)
    return Timed(artifact.stat().st_size, ms, p99 * ms / p50, memory, machine, operators)


def _ratio(before: Session, after: Session, usual: float) -> float:
    """How many times as long as ``before`` one run of ``after`` takes, by the fastest of many
    turns: on a busy machine threads wait for each other, and short kernels suffer most.

    Where even the fastest run of ``before`` takes far longer than usual, further turns may be
    disturbed less; if none is, ``before`` is taken to have suffered no more than so much, as the
    other may not have suffered at all.

    Args:
        before, after: loaded networks.
        usual: seconds that ``before`` takes.
    """
    for session in (before, after):
        session.set_inputs(example_inputs(session.artifact))
    first, second, end = math.inf, math.inf, time.monotonic() + _PATIENCE
    while True:
        turns = time_in_turns([before, after])
        first, second = min(first, *turns[0]), min(second, *turns[1])
        if first <= _DISTURBED * usual or time.monotonic() > end:
            break
    return second / max(min(first, _MOST_DISTURBED * usual), 1e-9)


def _calls(session: Session) -> dict[str, list[float]]:
    """The ms of calls of kernels; none where there is no profiler."""
    try:
        return profile_calls(session, _PROFILED)
    except DeviceError:
        return {}
