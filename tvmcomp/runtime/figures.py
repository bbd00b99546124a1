"""``tvmcomp.bench`` and ``tvmcomp.evaluate``: the figures of an artifact, in one call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tvmcomp.artifact.artifact import Artifact
from tvmcomp.runtime.bench import Benchmark, benchmark
from tvmcomp.runtime.evaluate import Dataset, Evaluation, Metric, read_dataset
from tvmcomp.runtime.evaluate import evaluate as evaluate_sessions
from tvmcomp.runtime.session import Session, load
from tvmcomp.runtime.threads import Pin

Runnable = str | Path | Artifact | Session


def bench(
    artifact: Runnable, runs: int | None = None, *, threads: int | None = None, pin: Pin = False
) -> Benchmark:
    """Measure an artifact on this machine, or a session where it is: latency, load time, memory.

    Args:
        artifact: a ``.tvmc`` file, what ``tvmcomp.build`` returned, or a session, which stays open.
        runs: timed runs; None takes what fits in about 3 s, between 10 and 2000.
        threads, pin: as for :func:`tvmcomp.load`; a session has its own.

    Raises:
        ArtifactError, ConfigError: as :func:`tvmcomp.load`.
        DeviceError: the device of the session failed.
    """
    with _opened(artifact, threads, pin) as session:
        return benchmark(session, runs)


def evaluate(
    artifact: Runnable,
    data: str | Path | Dataset,
    metric: Metric = "top1",
    float_network: Runnable | None = None,
    *,
    output: str | None = None,
    threads: int | None = None,
    pin: Pin = False,
) -> Evaluation:
    """How well an artifact does its task on samples, beside the float network.

    Args:
        artifact: a ``.tvmc`` file, what ``tvmcomp.build`` returned, or a session, which stays open.
        data: an ``.npz`` with an array for each input, a sample axis first, and ``label`` where
            there are labels; or what :func:`tvmcomp.runtime.evaluate.read_dataset` made of one.
        metric: ``top1``, ``top5``, ``agreement``, ``sqnr`` or ``cosine``.
        float_network: as ``artifact``; the metrics without labels need it.
        output: name of the output to judge; None is the first.
        threads, pin: as for :func:`tvmcomp.load`; a session has its own.

    Raises:
        InputError: the data does not fit the network, or something is missing for the metric.
        ArtifactError, ConfigError: as :func:`tvmcomp.load`.
    """
    with ExitStack() as stack:
        session = stack.enter_context(_opened(artifact, threads, pin))
        dataset = data if isinstance(data, Dataset) else read_dataset(data, session.signature)
        beside = None
        if float_network is not None:
            beside = stack.enter_context(_opened(float_network, threads, pin))
        return evaluate_sessions(session, dataset, metric, beside, output=output)


@contextmanager
def _opened(artifact: Runnable, threads: int | None, pin: Pin) -> Iterator[Session]:
    """A session of ``artifact``; one that is given stays open."""
    if isinstance(artifact, Session):
        yield artifact
        return
    with load(artifact, threads, pin) as session:
        yield session
