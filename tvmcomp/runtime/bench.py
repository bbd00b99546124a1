"""Measure a loaded artifact: warm up, time each run by itself, and say how sure the figure is."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from tvmcomp.model import Signature
from tvmcomp.runtime.example_inputs import example_inputs
from tvmcomp.runtime.machine import HERE
from tvmcomp.runtime.session import Session

#: What a measurement takes when no number of runs is asked for.
_SECONDS = 3.0
_WARM_UP_SECONDS = 0.5
_FEWEST_RUNS, _MOST_RUNS = 10, 2000


class Benchmark(msgspec.Struct, frozen=True):
    """Latency of one inference, in ms unless a name says otherwise.

    Attributes:
        runs: how many were timed, after the warm-up.
        p50_ms, p90_ms, p99_ms, min_ms: of the single runs.
        spread: interquartile range as a share of the median; over 0.1 the machine was noisy.
        load_ms: reading, verifying and loading the artifact, weights included.
        peak_memory_mib: largest resident memory of the process that ran it; None: unknown.
        threads: that the kernels ran on.
        machine: where it ran.
        with_transfers_ms: median of runs with the copies of inputs to this machine's GPU and of
            outputs from it; None where there are no such copies.
    """

    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    spread: float
    load_ms: float
    peak_memory_mib: float | None
    threads: int
    machine: str
    with_transfers_ms: float | None = None


def benchmark(
    session: Session, runs: int | None = None, signature: Signature | None = None
) -> Benchmark:
    """Time ``session`` on its reference inputs, or on any where it has none.

    Args:
        session: what to measure.
        runs: timed runs; None takes what fits in about 3 s, between 10 and 2000.
        signature: for which of its shapes; None is the first.

    Raises:
        DeviceError: the device failed.
    """
    times = benchmark_times(session, runs, signature)
    result = of_times(session, times)
    if session.artifact.metadata.target.family != "cuda" or session.machine.name != HERE:
        return result
    transfers = 1e3 * statistics.median(_with_transfers(session, len(times), signature))
    return msgspec.structs.replace(result, with_transfers_ms=transfers)


def _with_transfers(session: Session, runs: int, signature: Signature | None) -> list[float]:
    """The seconds of runs from arrays of the caller's to arrays of the caller's."""
    inputs = example_inputs(session.artifact, signature)
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        session.run(inputs)
        times.append(time.perf_counter() - begin)
    return times


def benchmark_times(
    session: Session, runs: int | None = None, signature: Signature | None = None
) -> list[float]:
    """The seconds of each run that :func:`benchmark` makes its figures of."""
    once = warm_up(session, signature)
    return session.time(runs if runs is not None else _runs_in(_SECONDS, once, _FEWEST_RUNS))


def warm_up(session: Session, signature: Signature | None = None) -> float:
    """Run on the reference inputs, or any, until times are steady; returns a run's seconds.

    The first call starts threads and touches memory; the ones after it heat up the clock.
    """
    session.set_inputs(example_inputs(session.artifact, signature))
    once = min(session.time(2))
    session.time(_runs_in(_WARM_UP_SECONDS, once, fewest=1))
    return once


def of_times(session: Session, times: Sequence[float]) -> Benchmark:
    """The figures of runs of ``session`` that took ``times``, in seconds."""
    peak = session.machine.peak_memory()
    p25, p50, p75, p90, p99 = (1e3 * float(q) for q in np.percentile(times, [25, 50, 75, 90, 99]))
    return Benchmark(
        runs=len(times),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        min_ms=1e3 * min(times),
        spread=(p75 - p25) / p50,
        load_ms=1e3 * session.load_seconds,
        peak_memory_mib=None if peak is None else peak / 2**20,
        threads=session.threads,
        machine=session.machine.name,
    )


def _runs_in(seconds: float, once: float, fewest: int) -> int:
    return max(fewest, min(_MOST_RUNS, math.ceil(seconds / max(once, 1e-7))))
