"""Measure artifacts for a report or a comparison: where they run, in turns where there are two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.artifact.reference import compare
from tvmcomp.intervals import Interval
from tvmcomp.own_process import run_tvmcomp
from tvmcomp.runtime.bench import benchmark_times, of_times
from tvmcomp.runtime.profile import profile_calls
from tvmcomp.runtime.session import Session
from tvmcomp.runtime.turns import time_in_turns

#: Rounds that two artifacts are timed in turns.
ROUNDS = 30
#: Runs of the process that memory and the time to load are taken from.
_RUNS_FOR_MEMORY = "20"


class Measured(msgspec.Struct, frozen=True):
    """What was measured of one artifact, now; times in ms.

    Attributes:
        machine: where it ran.
        threads: that its kernels ran on.
        latencies_ms: of every run.
        p50_ms, p99_ms, min_ms: of those.
        calls_ms: kernel -> each of its calls in one inference, in their order; empty: no profile.
        load_ms: reading, verifying and loading the artifact in a process of its own.
        peak_memory_mib: largest resident memory of that process; None: unknown.
        agrees: whether it gives its reference outputs; None: it has none.
    """

    machine: str
    threads: int
    latencies_ms: tuple[float, ...]
    p50_ms: float
    p99_ms: float
    min_ms: float
    calls_ms: dict[str, tuple[float, ...]]
    load_ms: float | None = None
    peak_memory_mib: float | None = None
    agrees: bool | None = None


class MeasuredPair(msgspec.Struct, frozen=True):
    """Two artifacts that were measured in turns.

    Attributes:
        before, after: each.
        ratio: how many times as long as ``before`` one run of ``after`` takes.
        interval: where that lies with 95% confidence.
    """

    before: Measured
    after: Measured
    ratio: float
    interval: Interval


def measure(session: Session, path: Path, options: Sequence[str]) -> Measured:
    """Measure one artifact.

    Args:
        session: it, loaded where it is to run.
        path: its file.
        options: of `tvmcomp bench` that say where that is.

    Raises:
        DeviceError: the device failed.
    """
    agrees = _agrees(session)
    return _measured(session, benchmark_times(session), agrees, path, options)


def measure_pair(
    sessions: tuple[Session, Session],
    paths: tuple[Path, Path],
    options: Sequence[str],
    progress: Callable[[], None] = lambda: None,
) -> MeasuredPair:
    """Measure two artifacts in turns; the arguments are those of :func:`measure`.

    Args:
        progress: is called after each of :data:`ROUNDS` rounds.
    """
    before, after = sessions
    agree = _agrees(before), _agrees(after)
    turns = time_in_turns(before, after, ROUNDS, progress)
    return MeasuredPair(
        _measured(before, turns.before, agree[0], paths[0], options),
        _measured(after, turns.after, agree[1], paths[1], options),
        turns.ratio,
        turns.interval,
    )


def _measured(
    session: Session,
    seconds: Sequence[float],
    agrees: bool | None,
    path: Path,
    options: Sequence[str],
) -> Measured:
    figures = of_times(session, seconds)
    alone, _ = run_tvmcomp("bench", path, "--repeat", _RUNS_FOR_MEMORY, *options)
    return Measured(
        machine=figures.machine,
        threads=figures.threads,
        latencies_ms=tuple(float(f"{1e3 * each:.4g}") for each in seconds),
        p50_ms=figures.p50_ms,
        p99_ms=figures.p99_ms,
        min_ms=figures.min_ms,
        calls_ms={name: tuple(calls) for name, calls in profile_calls(session).items()},
        load_ms=alone.get("load_ms"),
        peak_memory_mib=alone.get("peak_memory_mib"),
        agrees=agrees,
    )


def _agrees(session: Session) -> bool | None:
    artifact: Artifact = session.artifact
    if artifact.reference is None:
        return None
    outputs = session.run(artifact.reference.inputs)
    return all(
        each.agrees for each in compare(outputs, artifact.reference, artifact.metadata.quant)
    )
