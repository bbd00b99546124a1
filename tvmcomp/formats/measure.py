"""Time networks that compute the same, in turns where they will run, and one's calls of kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from tvmcomp.tuning.judge import unsteady

#: Seconds that a turn takes at least, and all rounds together at most, about.
_TURN, _ALL = 4e-3, 2.0
_FEWEST_ROUNDS, _MOST_ROUNDS = 9, 25
#: The fastest run of a turn counts: what else the machine does can only add to it.
_FEWEST_RUNS = 2
#: Runs that kernels are timed in; seconds that these take at most, about, but for the fewest.
_PROFILED, _PROFILED_SECONDS, _FEWEST_PROFILED = 15, 1.0, 3


class Timed(Protocol):
    """A loaded network whose inputs are set; see :class:`tvmcomp.runtime.session.Session`."""

    def time(self, runs: int) -> list[float]:
        """Seconds of each of ``runs`` runs."""

    def profile(self, runs: int) -> dict[str, list[float]]:
        """Seconds of each call of each kernel in ``runs`` runs."""


def time_in_turns(networks: Sequence[Timed]) -> list[tuple[float, ...]]:
    """Seconds of an inference of each network, one a round.

    Rounds that disagree are taken once more.
    """
    once = [min(network.time(2)) for network in networks]
    runs = [max(_FEWEST_RUNS, math.ceil(_TURN / max(seconds, 1e-7))) for seconds in once]
    round_seconds = sum(n * seconds for n, seconds in zip(runs, once, strict=True))
    rounds = max(_FEWEST_ROUNDS, min(_MOST_ROUNDS, int(_ALL / max(round_seconds, 1e-7))))
    times: list[list[float]] = [[] for _ in networks]
    for _ in range(2):
        for _ in range(rounds):
            for column, network, n in zip(times, networks, runs, strict=True):
                column.append(min(network.time(n)))
        if not any(unsteady(column, times[0]) for column in times[1:]):
            break
    return [tuple(column) for column in times]


def profile_in_turns(
    networks: Sequence[Timed], seconds: float
) -> tuple[list[dict[str, list[float]]], int]:
    """Seconds of each call of each kernel of each network, run after run, and how many runs.

    Args:
        networks: each is run in turn.
        seconds: that a run of each takes, all together.
    """
    fitting = int(_PROFILED_SECONDS / max(seconds, 1e-7))
    runs = max(_FEWEST_PROFILED, min(_PROFILED, fitting))
    profiles: list[dict[str, list[float]]] = [{} for _ in networks]
    for _ in range(runs):
        for network, profile in zip(networks, profiles, strict=True):
            for kernel, calls in network.profile(1).items():
                profile.setdefault(kernel, []).extend(calls)
    return profiles, runs
