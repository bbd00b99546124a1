"""Try candidates: build them, measure them beside the baseline, and log what comes of it.

Every measurement takes turns with the baseline in the same session, so a machine that
slows down, and boards that differ, show in both times. What looks faster challenges the incumbent
of its task: see :mod:`tvmcomp.tuning.incumbents`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvmcomp.tuning.events import Listener, TaskStarted, TrialDone
from tvmcomp.tuning.incumbents import Challenger, Incumbents
from tvmcomp.tuning.jobs import Failed, Measured
from tvmcomp.tuning.judge import LEAST_SPEEDUP, speedup
from tvmcomp.tuning.log.record import Trial
from tvmcomp.tuning.measure import ROUNDS
from tvmcomp.tuning.races import Attempt, Kernel, Races
from tvmcomp.tuning.recorder import Recorder, words
from tvmcomp.tuning.roofline import Roofline
from tvmcomp.tuning.space import Candidate
from tvmcomp.tuning.task_search import TaskSearch
from tvmcomp.tuning.trace import kernel_hash

#: Candidates of a task that challenge after a turn, at most.
_CHALLENGERS = 2


class Experiments:
    """Measures for one run of the tuner.

    Args:
        recorder: gets every trial before the next one is measured.
        incumbents: are challenged.
        races: builds and measures.
        roofline: is raised where a kernel is faster.
        tell: is told what happens.
    """

    def __init__(
        self,
        recorder: Recorder,
        incumbents: Incumbents,
        races: Races,
        roofline: Roofline,
        tell: Listener,
    ) -> None:
        self._recorder = recorder
        self._incumbents = incumbents
        self._races = races
        self._roofline = roofline
        self._tell = tell

    def start(self, searches: Sequence[TaskSearch]) -> None:
        """Build the baselines, and measure them."""
        for search in searches:
            self._recorder.define(search)
        failed = set()
        for search, failure in self._races.prepare(searches):
            self._note(search, search.baseline, failure)
            failed.add(search.workload.hash)
        for search in searches:
            if search.workload.hash not in failed:
                self._measure_baseline(search)

    def _measure_baseline(self, search: TaskSearch) -> None:
        kernel = kernel_hash(search.baseline.schedule)
        known = [
            trial.seconds
            for trial in search.known
            if trial.is_baseline and trial.run_secs and trial.kernel == kernel
        ]
        search.baseline_seconds = known[-1] if known else None
        if search.baseline_seconds is None:
            result = self._races.baseline(search)
            self._note(search, search.baseline, result)
            if isinstance(result, Failed):
                return
        seconds = search.incumbent_seconds
        assert seconds is not None
        self._roofline.raise_to(search.task.func, search.workload.arguments, seconds)

    def announce(self, search: TaskSearch) -> None:
        """Tell how a task stands at the start of its search."""
        search.roofline_seconds = self._roofline.seconds(
            search.task.func, search.workload.arguments
        )
        assert search.baseline_seconds is not None and search.incumbent_seconds is not None
        self._tell(
            TaskStarted(
                search.task.name,
                search.task.weight,
                search.already,
                search.baseline_seconds,
                search.incumbent_seconds,
                search.roofline_seconds,
            )
        )

    def try_all(self, attempts: Sequence[Attempt]) -> list[float | None]:
        """Build and measure candidates; the seconds of each, None where it failed.

        They are scaled to the baseline's time of the beginning.
        """
        kernels: dict[int, Kernel] = {}
        for index, built in self._races.build(attempts):
            if isinstance(built, Failed):
                self._note(*attempts[index], built)
            else:
                kernels[index] = built
        order = sorted(kernels)
        speedups: dict[int, float] = {}
        runners = [(attempts[index][0], kernels[index]) for index in order]
        for at, result in self._races.race(runners, ROUNDS):
            trial = self._note(*attempts[order[at]], result)
            if trial.run_secs:
                speedups[order[at]] = speedup(trial.run_secs, trial.baseline_secs)
        challengers: dict[str, list[int]] = {}
        for index in sorted(speedups, key=lambda index: -speedups[index]):
            search, _ = attempts[index]
            group = challengers.setdefault(search.workload.hash, [])
            least = max(LEAST_SPEEDUP, search.speedup)
            if speedups[index] > least and len(group) < _CHALLENGERS:
                group.append(index)
        self._incumbents.challenge(
            [
                Challenger(*attempts[index], kernels[index])
                for group in challengers.values()
                for index in group
            ]
        )
        return [
            (search.baseline_seconds or 0.0) / speedups[index] if index in speedups else None
            for index, (search, _) in enumerate(attempts)
        ]

    def _note(self, search: TaskSearch, candidate: Candidate, result: Measured | Failed) -> Trial:
        """Log a first measurement, and tell of it."""
        is_baseline = candidate is search.baseline
        if isinstance(result, Failed):
            search.failures[result.kind] += 1
            search.error = words(result)
            trial = self._recorder.trial(
                search, candidate, None, error=search.error, is_baseline=is_baseline
            )
        else:
            *baseline, run_secs = result.run_secs
            trial = self._recorder.trial(
                search, candidate, result.device,
                run_secs=run_secs, is_baseline=is_baseline,
                baseline_secs=baseline[0] if baseline else (),
            )  # fmt: skip
            if is_baseline:
                search.baseline_seconds = trial.seconds
        search.trials += 1
        search.idle += 1
        self._tell(
            TrialDone(
                search.task.name,
                trial.seconds if trial.run_secs else None,
                trial.error,
                search.incumbent_seconds,
                search.baseline_seconds,
            )
        )
        return trial
