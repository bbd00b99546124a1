"""The fastest confirmed candidate of each task, its incumbent: how one becomes that, and stays it.

A candidate that looks faster challenges. It has to win in many turns with the baseline,
faster than the incumbent does, with the baseline's results; and at last together with the
incumbents of the other tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from tvmcomp.tuning.events import Improved, Listener
from tvmcomp.tuning.jobs import Failed, Measured
from tvmcomp.tuning.judge import speedup, wins
from tvmcomp.tuning.measure import Bench
from tvmcomp.tuning.races import Kernel, Races
from tvmcomp.tuning.recorder import Recorder, words
from tvmcomp.tuning.roofline import Roofline
from tvmcomp.tuning.space import Candidate, module_text
from tvmcomp.tuning.task_search import TaskSearch

#: Rounds that a candidate has to win in.
_CONFIRMING_ROUNDS = 15


@dataclass(frozen=True)
class Challenger:
    """A candidate that may become its task's incumbent, or is that.

    Attributes:
        run_secs, baseline_secs: of all its confirming races so far.
        race: the last of them.
    """

    search: TaskSearch
    candidate: Candidate
    kernel: Kernel
    run_secs: tuple[float, ...] = ()
    baseline_secs: tuple[float, ...] = ()
    race: Measured | None = None

    @property
    def speedup(self) -> float:
        """How many times as fast as the baseline."""
        return speedup(self.run_secs, self.baseline_secs)

    @property
    def won(self) -> bool:
        """Whether all its races together show that it is faster."""
        return wins(self.run_secs, self.baseline_secs)

    @property
    def is_incumbent(self) -> bool:
        """Whether it is its task's incumbent already."""
        return self.candidate is self.search.incumbent

    def after(self, race: Measured) -> Challenger:
        """With the times of another race."""
        baseline, run_secs = race.run_secs
        return replace(
            self,
            run_secs=self.run_secs + run_secs,
            baseline_secs=self.baseline_secs + baseline,
            race=race,
        )


@dataclass(frozen=True)
class NetworkOutcome:
    """What became of the whole network.

    Attributes:
        baseline_secs: its times without tuning, one a round.
        tuned_secs: its times with all incumbents, in the same rounds; empty where there are none.
    """

    baseline_secs: tuple[float, ...]
    tuned_secs: tuple[float, ...] = ()

    @property
    def unchanged(self) -> bool:
        """Whether nothing is kept for it: it stays the network without tuning."""
        return not self.tuned_secs

    @property
    def baseline_seconds(self) -> float:
        """Of an inference without tuning."""
        return median(self.baseline_secs)

    @property
    def tuned_seconds(self) -> float | None:
        """Of an inference with tuning, by the speedup in the rounds: machines drift."""
        if self.unchanged:
            return None
        return self.baseline_seconds / speedup(self.tuned_secs, self.baseline_secs)


class Incumbents:
    """Those of one run of the tuner.

    Args:
        recorder: gets every race.
        bench: compares results.
        races: builds and measures, on the same device.
        roofline: is raised where a kernel is faster.
        tell: is told what happens.
    """

    def __init__(
        self, recorder: Recorder, bench: Bench, races: Races, roofline: Roofline, tell: Listener
    ) -> None:
        self._recorder = recorder
        self._bench = bench
        self._races = races
        self._roofline = roofline
        self._tell = tell
        #: Workload -> the incumbent's kernel.
        self._kept: dict[str, Kernel] = {}

    def challenge(self, challengers: list[Challenger]) -> None:
        """Let ``challengers``, and the incumbents of their tasks, race in many turns."""
        searches = {each.search.workload.hash: each.search for each in challengers}
        racing = challengers + self._built(list(searches.values()))
        won: dict[str, list[Challenger]] = {}
        lost = set()
        for raced in self._race(racing):
            if not isinstance(raced, Challenger):
                continue  # each of them has run before: another batch may try it again
            if raced.won:
                won.setdefault(raced.search.workload.hash, []).append(raced)
                continue
            self._record(raced, confirmed=False)
            if raced.is_incumbent:
                lost.add(raced.search.workload.hash)
        for workload in lost - self._keep_fastest(won):
            self._take_back(searches[workload])
        self._races.keep(self._kept.values())

    def _race(self, racing: Sequence[Challenger]) -> list[Challenger | TaskSearch]:
        """Each after the race, or the search of one that failed."""
        runners = [(each.search, each.kernel) for each in racing]
        return [
            racing[index].search if isinstance(result, Failed) else racing[index].after(result)
            for index, result in self._races.race(runners, _CONFIRMING_ROUNDS)
        ]

    def _keep_fastest(self, won: Mapping[str, list[Challenger]]) -> set[str]:
        """Of each workload keep the fastest whose results are right; which workloads have one."""
        kept = set()
        waiting = {
            workload: sorted(group, key=lambda each: -each.speedup)
            for workload, group in won.items()
        }
        while waiting:
            first = [group.pop(0) for group in waiting.values()]
            for each, found in zip(first, self._differences(first), strict=True):
                if found:
                    self._reject(each, found)
                    continue
                workload = each.search.workload.hash
                kept.add(workload)
                self._record(each, confirmed=True)
                for slower in waiting.pop(workload):
                    self._record(slower, confirmed=slower.is_incumbent)
                self._keep(each)
            waiting = {workload: group for workload, group in waiting.items() if group}
        return kept

    def _differences(self, challengers: Sequence[Challenger]) -> list[str | Failed]:
        """How each differs from the baseline; incumbents were compared before."""
        pairs = [
            (
                module_text(each.candidate),
                module_text(each.search.baseline),
                each.search.workload.arguments,
            )
            for each in challengers
            if not each.is_incumbent
        ]
        found = iter(self._bench.differences(pairs))
        return ["" if each.is_incumbent else next(found) for each in challengers]

    def conclude(self, searches: Sequence[TaskSearch]) -> NetworkOutcome | None:
        """Race all incumbents in the network together, and take back what is no faster there.

        Returns:
            What became of the whole network; None where it is not run, or does not run at all.
        """
        if all(search.baseline_seconds is None for search in searches):
            return None
        self._confirm_together(searches)
        incumbents = self._built(searches)
        whole = self._races.whole([each.kernel for each in incumbents], _CONFIRMING_ROUNDS)
        if isinstance(whole, Measured) and incumbents:
            outcome = NetworkOutcome(*whole.run_secs)
            # Each of them has won twice: what is within the noise is no reason to lose them.
            if not wins(outcome.baseline_secs, outcome.tuned_secs):
                return outcome
        if isinstance(whole, Failed):  # together they crash, or it is not what was found
            whole = self._races.whole([], 1)
        if not isinstance(whole, Measured):
            return None
        for each in incumbents:
            self._take_back(each.search)
        return NetworkOutcome(whole.run_secs[0])

    def _network_runs(self) -> bool:
        return isinstance(self._races.whole([], 1), Measured)

    def _confirm_together(self, searches: Sequence[TaskSearch]) -> None:
        failed = []
        for raced in self._race(self._built(searches)):
            if not isinstance(raced, Challenger):
                failed.append(raced)
                continue
            self._record(raced, confirmed=raced.won)
            if raced.won:
                self._keep(raced)
            else:
                self._take_back(raced.search)
        if failed and self._network_runs():  # a record of an earlier run may crash in this one
            for search in failed:
                self._take_back(search)

    def _built(self, searches: Sequence[TaskSearch]) -> list[Challenger]:
        """The incumbent of each task that has one, built."""
        running = [search for search in searches if search.baseline_seconds is not None]
        held = [(search, search.incumbent) for search in running if search.incumbent is not None]
        earlier = [each for each in held if each[0].workload.hash not in self._kept]
        for index, built in self._races.build(earlier):  # of an earlier run
            if isinstance(built, Kernel):
                self._kept[earlier[index][0].workload.hash] = built
        return [
            Challenger(search, incumbent, self._kept[search.workload.hash], *search.incumbent_times)
            for search, incumbent in held
            if search.workload.hash in self._kept
        ]

    def _record(self, raced: Challenger, confirmed: bool) -> None:
        assert raced.race is not None
        baseline, run_secs = raced.race.run_secs
        self._recorder.trial(
            raced.search, raced.candidate, raced.race.device,
            run_secs=run_secs, baseline_secs=baseline, confirmed=confirmed,
        )  # fmt: skip

    def _reject(self, raced: Challenger, found: str | Failed) -> None:
        """Its results differ, or could not be compared."""
        assert raced.race is not None
        wrong = found if isinstance(found, Failed) else Failed("wrong result", found)
        raced.search.failures[wrong.kind] += 1
        device = raced.race.device
        self._recorder.trial(raced.search, raced.candidate, device, error=words(wrong))

    def _keep(self, winner: Challenger) -> None:
        search, was_incumbent = winner.search, winner.is_incumbent
        search.incumbent, search.speedup = winner.candidate, winner.speedup
        search.incumbent_times = winner.run_secs, winner.baseline_secs
        self._kept[search.workload.hash] = winner.kernel
        if was_incumbent:
            return
        search.idle = 0
        seconds, baseline_seconds = search.incumbent_seconds, search.baseline_seconds
        assert seconds is not None and baseline_seconds is not None
        self._roofline.raise_to(search.task.func, search.workload.arguments, seconds)
        self._tell(Improved(search.task.name, seconds, baseline_seconds))

    def _take_back(self, search: TaskSearch) -> None:
        """Keep nothing of a task: nor what was confirmed before its incumbent was found."""
        self._recorder.take_back(search)
        search.incumbent, search.incumbent_times, search.speedup = None, ((), ()), 1.0
        self._kept.pop(search.workload.hash, None)
