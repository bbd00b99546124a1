"""A search that takes seconds: operators' times are modelled, and a network takes as long as its
file is large."""

from __future__ import annotations

from pathlib import Path

from tvmcomp.compress.cost import OperatorTimes
from tvmcomp.search import prepare, workbench
from tvmcomp.search.timing import Beside, Timed


def install() -> None:
    """Put it in the place of what measures."""
    prepare.device_times = modelled_times
    workbench.benched = timed_by_size
    workbench.Workbench.probed = lambda *_: Timed(0, 1.0, 2.0, None, "a model of a machine")


def modelled_times(target: str, device: str | None) -> OperatorTimes:
    times = OperatorTimes(target, device)
    times.measured = False
    return times


def timed_by_size(artifact: Path, device: str | None, beside: Beside | None) -> Timed:
    size = artifact.stat().st_size
    return Timed(size, size / 1e5, size / 5e4, 10 * size, "a model of a machine")
