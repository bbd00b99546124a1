"""One task on its way: what is known of it, and what may still be won."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tvmcomp.tuning.events import TaskSummary
from tvmcomp.tuning.log.record import Trial, Versions, Workload
from tvmcomp.tuning.search_strategy import SearchStrategy
from tvmcomp.tuning.space import Candidate
from tvmcomp.tuning.task import Task

#: A search that found nothing faster in so many trials has settled.
PATIENCE = 32
#: A kernel so near its roofline bound is given up four times as soon.
_NEAR_ROOFLINE = 1.03
#: The bound is an estimate: so much may be won even there.
_LEAST_ABOVE = 0.05
#: MetaSchedule's rules serve what only moves data. They take seconds to start and win little there
#: (docs/tuning.md): so much of what is above the bound.
_OF_RULES = 0.1


@dataclass
class TaskSearch:
    """How far a task has come.

    Attributes:
        task: what is tuned.
        names: what the network calls it; the same kernel may have several.
        workload: the key of its records.
        baseline: the schedule of a build without records.
        known: trials of earlier runs on this model of device.
        roofline_seconds: the roofline bound: no schedule takes less, as far as is known.
        baseline_seconds: of a call of it.
        incumbent: the confirmed candidate that is fastest, None while the baseline is.
        speedup: how many times as fast as the baseline it is.
        incumbent_times: what that comes from: times of it, and of the baseline in turns with it.
        trials: trials of this run.
        idle: trials since the incumbent was found.
        failures: failed trials of this run, by kind.
        error: what the last of them said.
        guess: what our design space is entered at, None where generic rules serve.
        strategy: where candidates come from, once it is needed.
        status: why it ended; "" while it goes on.
    """

    task: Task
    names: tuple[str, ...]
    workload: Workload
    baseline: Candidate
    known: list[Trial]
    roofline_seconds: float
    baseline_seconds: float | None = None
    incumbent: Candidate | None = None
    speedup: float = 1.0
    incumbent_times: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    trials: int = 0
    idle: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    error: str = ""
    guess: Candidate | None = None
    strategy: SearchStrategy | None = None
    status: str = ""

    @property
    def tried(self) -> list[Trial]:
        """What is ``known`` of the same versions: others may make another kernel of a point."""
        versions = Versions.here()
        return [trial for trial in self.known if trial.versions == versions]

    @property
    def already(self) -> int:
        """Candidates that earlier runs tried."""
        return len({trial.kernel for trial in self.tried})

    @property
    def incumbent_seconds(self) -> float | None:
        """Of a call of what a build would use now: of the baseline, while there is no incumbent."""
        return None if self.baseline_seconds is None else self.baseline_seconds / self.speedup

    @property
    def promise(self) -> float:
        """Seconds of an inference that more trials may win: less, the longer none has."""
        seconds = self.incumbent_seconds
        if seconds is None:
            return 0.0
        above = max(_LEAST_ABOVE * seconds, seconds - self.roofline_seconds)
        likely = above if self.guess is not None else _OF_RULES * above
        return self.task.weight * likely / (1.0 + self.idle / (PATIENCE / 4))

    def settled(self, patience: int) -> bool:
        """Whether more trials are not worth their time: so many, and fewer at the bound."""
        seconds = self.incumbent_seconds
        at_bound = seconds is not None and seconds < _NEAR_ROOFLINE * self.roofline_seconds
        return self.idle >= (patience / 4 if at_bound else patience)

    def summary(self, status: str) -> TaskSummary:
        """How far it has come, as an event."""
        return TaskSummary(
            self.task.name,
            self.task.weight,
            status,
            self.baseline_seconds,
            self.incumbent_seconds,
            self.trials,
            dict(self.failures),
            self.roofline_seconds,
            self.error,
        )
