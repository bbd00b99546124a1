"""A search that takes seconds: operators' times are modelled, and a network takes as long as its
file is large."""

from __future__ import annotations

from pathlib import Path

from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.search import making, prepare
from tvmcomp.search.timing import Timed


def install() -> None:
    """Put it in the place of what measures."""
    prepare.device_times = modelled_times
    making.benched = timed_by_size


def modelled_times(target: str, device: str | None) -> OperatorTimes:
    times = OperatorTimes(target, device)
    times.measured = False
    return times


def timed_by_size(artifact: Path, device: str | None) -> Timed:
    size = artifact.stat().st_size
    return Timed(size, size / 1e5, size / 5e4, 10 * size, "a model of a machine")
