"""Two artifacts timed in turns: what the machine does meanwhile slows both of them.

A round runs the one and then the other, for as long as each needs; what counts is the ratio of
their medians within a round, and its median over the rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from tvmcomp.intervals import Interval, bootstrap
from tvmcomp.runtime.bench import warm_up
from tvmcomp.runtime.session import Session

#: Seconds that one of them runs in a round, and the runs of it.
_TURN_SECONDS = 0.05
_FEWEST_RUNS, _MOST_RUNS = 2, 200


@dataclass(frozen=True)
class Turns:
    """Times of two sessions.

    Attributes:
        before, after: seconds of every run.
        ratio: how many times as long as ``before`` one run of ``after`` takes.
        interval: where that lies with 95% confidence.
    """

    before: list[float]
    after: list[float]
    ratio: float
    interval: Interval


def time_in_turns(
    before: Session, after: Session, rounds: int, progress: Callable[[], None] = lambda: None
) -> Turns:
    """Time both on their reference inputs, or any.

    Args:
        before, after: on the same machine.
        rounds: at least 2.
        progress: is called after each round.

    Raises:
        DeviceError: the device failed.
    """
    sessions = before, after
    runs = [_runs(warm_up(session)) for session in sessions]
    times: tuple[list[float], list[float]] = ([], [])
    ratios = []
    for turn in range(rounds):
        medians = [0.0, 0.0]
        # Who goes first finds the caches and the clock that the other left: it takes turns, too.
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            sessions[which].time(1)
            taken = sessions[which].time(runs[which])
            times[which].extend(taken)
            medians[which] = median(taken)
        ratios.append(medians[1] / medians[0])
        progress()
    values = np.array(ratios)
    return Turns(*times, float(np.median(values)), bootstrap(values, lambda v: float(np.median(v))))


def _runs(once: float) -> int:
    return max(_FEWEST_RUNS, min(_MOST_RUNS, round(_TURN_SECONDS / max(once, 1e-7))))
