"""Try candidates: build them, measure them beside the untuned schedule, and log what comes of it.

Every measurement takes turns with the untuned schedule in the same session, so a machine that
slows down, and boards that differ, show in both times. A candidate that looks faster has to win
again in many more turns before a build may use it, and at last together with those of the other
kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from tvmcomp.fingerprint import Fingerprint
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.cost_model import CostModel
from tvmcomp.tuning.events import Improved, Progress, TaskStarted, TrialDone
from tvmcomp.tuning.jobs import Failed, Measured
from tvmcomp.tuning.judge import LEAST_GAIN, gain, wins
from tvmcomp.tuning.log.record import Definition, Finished, Target, Trial, Versions, Workload, now
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.measure import ROUNDS, Bench
from tvmcomp.tuning.races import Entry, Kernel, Races
from tvmcomp.tuning.roofline import Roofline
from tvmcomp.tuning.space import Candidate, module_text
from tvmcomp.tuning.task import write_module
from tvmcomp.tuning.task_search import TaskSearch
from tvmcomp.tuning.trace import kernel_hash

#: Turns that a candidate has to win in.
_CONFIRMING_ROUNDS = 15
#: Candidates of a batch that are measured again.
_CHALLENGERS = 2


@dataclass(frozen=True)
class _Challenger:
    """A candidate that may become its task's best, or is that.

    Attributes:
        run_secs, baseline_secs: of all its confirming races so far.
    """

    search: TaskSearch
    candidate: Candidate
    kernel: Kernel
    run_secs: tuple[float, ...] = ()
    baseline_secs: tuple[float, ...] = ()

    @property
    def gain(self) -> float:
        """How many times as fast as the untuned schedule."""
        return gain(self.run_secs, self.baseline_secs)

    @property
    def is_best(self) -> bool:
        """Whether it is its task's best so far."""
        return self.candidate is self.search.best

    def after(self, race: Measured) -> _Challenger:
        """With the times of another race."""
        baseline, run_secs = race.run_secs
        return replace(
            self,
            baseline_secs=self.baseline_secs + baseline,
            run_secs=self.run_secs + run_secs,
        )


@dataclass(frozen=True)
class _Raced:
    """A challenger after a race, and that race."""

    after: _Challenger
    result: Measured

    @property
    def won(self) -> bool:
        """Whether all its races together show a gain."""
        return wins(self.after.run_secs, self.after.baseline_secs)


class Experiments:
    """Measures for one run of the tuner.

    Args:
        target: what is compiled for.
        log: gets a line for every trial before the next one is measured.
        bench: compares results.
        races: builds and measures, on the same device.
        model: is told of each trial.
        roofline: is raised where a kernel is faster.
        tell: is told what happens.
    """

    def __init__(
        self,
        target: TargetDescription,
        log: TuningLog,
        bench: Bench,
        races: Races,
        model: CostModel,
        roofline: Roofline,
        tell: Progress,
    ) -> None:
        self._target = target
        self._log = log
        self._bench = bench
        self._races = races
        #: Workload -> the best candidate's kernel.
        self._kept: dict[str, Kernel] = {}
        self._model = model
        self._roofline = roofline
        self._tell = tell

    def start(self, searches: Sequence[TaskSearch]) -> None:
        """Build the untuned schedules, and measure them."""
        # That another log holds a workload helps nobody whom this one is given to.
        written = TuningLog(self._log.stores[:1])
        for search in searches:
            if written.definition(search.workload.hash) is None:
                text = write_module(search.task.func)
                self._log.append(Definition(**_line(search.workload), module=text))
        failed = set()
        for search, failure in self._races.prepare(searches):
            self._note(search, search.baseline, failure)
            failed.add(search.workload.hash)
        for search in searches:
            if search.workload.hash not in failed:
                self._measure_baseline(search)

    def _measure_baseline(self, search: TaskSearch) -> None:
        kernel = kernel_hash(search.baseline.schedule)
        known = [t.seconds for t in search.known if t.untuned and t.run_secs and t.kernel == kernel]
        search.untuned = known[-1] if known else None
        if search.untuned is None:
            result = self._races.baseline(search)
            self._note(search, search.baseline, result)
            if isinstance(result, Failed):
                return
        assert search.untuned is not None and search.best_seconds is not None
        self._roofline.raise_to(search.task.func, search.workload.arguments, search.best_seconds)

    def announce(self, search: TaskSearch) -> None:
        """Tell how a task stands at the start of its search."""
        search.roof = self._roofline.seconds(search.task.func, search.workload.arguments)
        assert search.untuned is not None and search.best_seconds is not None
        self._tell(
            TaskStarted(
                search.task.name,
                search.task.weight,
                search.already,
                search.untuned,
                search.best_seconds,
                search.roof,
            )
        )

    def try_all(self, entries: Sequence[Entry]) -> list[float | None]:
        """Build and measure candidates; the seconds of each, None where it failed.

        They are scaled to the untuned schedule's time of the beginning.
        """
        kernels: dict[int, Kernel] = {}
        for index, built in self._races.build(entries):
            if isinstance(built, Failed):
                self._note(*entries[index], built)
            else:
                kernels[index] = built
        order = sorted(kernels)
        gains: dict[int, float] = {}
        runners = [(entries[index][0], kernels[index]) for index in order]
        for at, result in self._races.race(runners, ROUNDS):
            trial = self._note(*entries[order[at]], result)
            if trial.run_secs:
                gains[order[at]] = gain(trial.run_secs, trial.baseline_secs)
        challengers: dict[str, list[int]] = {}
        for index in sorted(gains, key=lambda index: -gains[index]):
            search, _ = entries[index]
            group = challengers.setdefault(search.workload.hash, [])
            least = max(LEAST_GAIN, search.best_gain)
            if gains[index] > least and len(group) < _CHALLENGERS:
                group.append(index)
        self._confirm(
            [
                _Challenger(*entries[index], kernels[index])
                for group in challengers.values()
                for index in group
            ]
        )
        return [
            (search.untuned or 0.0) / gains[index] if index in gains else None
            for index, (search, _) in enumerate(entries)
        ]

    def _confirm(self, challengers: list[_Challenger]) -> None:
        """Let ``challengers``, and the best so far of their tasks, race in many turns."""
        searches = {each.search.workload.hash: each.search for each in challengers}
        racing = challengers + self._holders(list(searches.values()))
        runners = [(each.search, each.kernel) for each in racing]
        won: dict[str, list[_Raced]] = {}
        lost = set()
        for index, result in self._races.race(runners, _CONFIRMING_ROUNDS):
            if isinstance(result, Failed):
                continue  # each of them has run before: another batch may try it again
            raced = _Raced(racing[index].after(result), result)
            workload = raced.after.search.workload.hash
            if raced.won:
                won.setdefault(workload, []).append(raced)
                continue
            self._log_race(raced, confirmed=False)
            if raced.after.is_best:
                lost.add(workload)
        kept = self._keep_best(won)
        for workload in lost - kept:
            self._take_back(searches[workload])
        self._races.keep(self._kept.values())

    def _keep_best(self, won: Mapping[str, list[_Raced]]) -> set[str]:
        """Of each workload keep the fastest whose results are right; which workloads have one."""
        kept = set()
        waiting = {
            workload: sorted(group, key=lambda raced: -raced.after.gain)
            for workload, group in won.items()
        }
        while waiting:
            first = [group.pop(0) for group in waiting.values()]
            for raced, found in zip(first, self._differences(first), strict=True):
                search, candidate = raced.after.search, raced.after.candidate
                if found:
                    wrong = found if isinstance(found, Failed) else Failed("wrong result", found)
                    search.failures[wrong.kind] += 1
                    error = _words(wrong)
                    device = raced.result.device
                    self._log.append(self._trial(search, candidate, device, error=error))
                    continue
                kept.add(search.workload.hash)
                self._log_race(raced, confirmed=True)
                for slower in waiting.pop(search.workload.hash):
                    self._log_race(slower, confirmed=slower.after.is_best)
                self._keep(search, raced.after)
            waiting = {workload: group for workload, group in waiting.items() if group}
        return kept

    def _differences(self, all_raced: Sequence[_Raced]) -> list[str | Failed]:
        """How each differs from the untuned schedule; what is kept was compared before."""
        new = [each.after for each in all_raced if not each.after.is_best]
        pairs = [
            (
                module_text(each.candidate),
                module_text(each.search.baseline),
                each.search.workload.arguments,
            )
            for each in new
        ]
        found = iter(self._bench.differences(pairs))
        return ["" if each.after.is_best else next(found) for each in all_raced]

    def conclude(self, searches: Sequence[TaskSearch]) -> Measured | None:
        """Race all that was found in the network together, and take back what does not gain there.

        Returns:
            Times of the whole network, untuned and with what is kept; None where it is not run.
        """
        if all(search.untuned is None for search in searches):
            return None
        self._confirm_together(searches)
        holders = self._holders(searches)
        whole = self._races.whole([each.kernel for each in holders], _CONFIRMING_ROUNDS)
        if isinstance(whole, Failed) and not self._network_runs():
            return None  # whatever the reason is: it is not what was found
        times = whole if isinstance(whole, Measured) else None
        # Each of them has won twice: what is within the noise is no reason to lose them.
        slower = times is not None and wins(times.run_secs[0], times.run_secs[1])
        if slower or isinstance(whole, Failed):  # together they crash
            for each in holders:
                self._take_back(each.search)
        return Measured((times.run_secs[0],) * 2) if times and slower else times

    def _network_runs(self) -> bool:
        return isinstance(self._races.whole([], 1), Measured)

    def _confirm_together(self, searches: Sequence[TaskSearch]) -> None:
        holders = self._holders(searches)
        runners = [(each.search, each.kernel) for each in holders]
        failed = []
        for index, result in self._races.race(runners, _CONFIRMING_ROUNDS):
            if isinstance(result, Failed):
                failed.append(holders[index].search)
                continue
            raced = _Raced(holders[index].after(result), result)
            self._log_race(raced, confirmed=raced.won)
            if raced.won:
                self._keep(raced.after.search, raced.after)
            else:
                self._take_back(raced.after.search)
        if failed and self._network_runs():  # a record of an earlier run may crash in this one
            for search in failed:
                self._take_back(search)

    def _take_back(self, search: TaskSearch) -> None:
        """Keep nothing of a task: nor what was confirmed before its best was found."""
        newest = {
            trial.kernel: trial for trial in self._log.trials(search.workload.hash, self._target)
        }
        for trial in newest.values():
            if trial.confirmed and trial.device.same_model(self._bench.fingerprint):
                self._log.append(msgspec.structs.replace(trial, confirmed=False, date=now()))
        self._keep(search, None)

    def _holders(self, searches: Sequence[TaskSearch]) -> list[_Challenger]:
        """The best so far of each task, built."""
        running = [search for search in searches if search.untuned is not None]
        held = [(search, search.best) for search in running if search.best is not None]
        earlier = [entry for entry in held if entry[0].workload.hash not in self._kept]
        for index, built in self._races.build(earlier):  # of an earlier run
            if isinstance(built, Kernel):
                self._kept[earlier[index][0].workload.hash] = built
        return [
            _Challenger(search, best, self._kept[search.workload.hash], *search.best_times)
            for search, best in held
            if search.workload.hash in self._kept
        ]

    def _log_race(self, raced: _Raced, confirmed: bool) -> None:
        baseline, run_secs = raced.result.run_secs
        trial = self._trial(
            raced.after.search, raced.after.candidate, raced.result.device,
            run_secs=run_secs, baseline_secs=baseline, confirmed=confirmed,
        )  # fmt: skip
        self._log.append(trial)
        self._model.learn(trial)

    def _keep(self, search: TaskSearch, best: _Challenger | None) -> None:
        was = search.best
        if best is None:
            search.best, search.best_times, search.best_gain = None, ((), ()), 1.0
            self._kept.pop(search.workload.hash, None)
            return
        search.best, search.best_gain = best.candidate, best.gain
        search.best_times = best.run_secs, best.baseline_secs
        self._kept[search.workload.hash] = best.kernel
        if best.candidate is was:
            return
        search.idle = 0
        assert search.best_seconds is not None and search.untuned is not None
        self._roofline.raise_to(search.task.func, search.workload.arguments, search.best_seconds)
        self._tell(Improved(search.task.name, search.best_seconds, search.untuned))

    def finish(self, search: TaskSearch, trials: int, exhausted: bool) -> None:
        """Log that a search ended: it is not run again for ``trials`` trials or fewer."""
        self._log.append(
            Finished(
                **_line(search.workload),
                target=Target.of(self._target),
                device=self._bench.fingerprint,
                trials=trials,
                exhausted=exhausted,
            )
        )

    def _note(self, search: TaskSearch, candidate: Candidate, result: Measured | Failed) -> Trial:
        """Log a first measurement, and tell of it."""
        untuned = candidate is search.baseline
        if isinstance(result, Failed):
            trial = self._trial(search, candidate, None, error=_words(result), untuned=untuned)
            search.failures[result.kind] += 1
            search.error = _words(result)
        else:
            *baseline, run_secs = result.run_secs
            trial = self._trial(
                search, candidate, result.device,
                run_secs=run_secs, untuned=untuned, baseline_secs=baseline[0] if baseline else (),
            )  # fmt: skip
            if untuned:
                search.untuned = trial.seconds
            self._model.learn(trial)
        self._log.append(trial)
        search.trials += 1
        search.idle += 1
        self._tell(
            TrialDone(
                search.task.name,
                trial.seconds if trial.run_secs else None,
                trial.error,
                search.best_seconds,
                search.untuned,
            )
        )
        return trial

    def _trial(
        self, search: TaskSearch, candidate: Candidate, device: Fingerprint | None, **fields: Any
    ) -> Trial:
        return Trial(
            **_line(search.workload),
            target=Target.of(self._target),
            device=device or self._bench.fingerprint,
            trace=candidate.trace,
            kernel=kernel_hash(candidate.schedule),
            space=candidate.space,
            choices=dict(candidate.choices),
            **fields,
        )


def _words(failed: Failed) -> str:
    return f"{failed.kind}: {failed.message}"[:2000]


def _line(workload: Workload) -> dict[str, Any]:
    return {"workload": workload, "versions": Versions.here(), "date": now()}
