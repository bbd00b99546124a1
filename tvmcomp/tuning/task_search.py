"""One task on its way: what is known of it, and what is still to be gained."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tvmcomp.tuning.events import TaskSummary
from tvmcomp.tuning.log.record import Trial, Versions, Workload
from tvmcomp.tuning.search import Search
from tvmcomp.tuning.space import Candidate
from tvmcomp.tuning.task import Task

#: A search that gained nothing in so many trials has settled.
PATIENCE = 32
#: A kernel so near its roof is given up four times as soon.
_NEAR_ROOF = 1.03
#: The roof is an estimate: so much may be to gain even there.
_LEAST_ABOVE = 0.05
#: MetaSchedule's rules serve what only moves data. They take seconds to start and win little there
#: (docs/tuning.md): so much of what is above the roof.
_OF_RULES = 0.1


@dataclass
class TaskSearch:
    """How far a task has come.

    Attributes:
        task: what is tuned.
        names: what the network calls it; the same kernel may have several.
        workload: the key of its records.
        baseline: its untuned schedule.
        known: trials of earlier runs on this model of device.
        roof: seconds that no schedule is faster than.
        untuned: seconds of a call of it.
        best: the confirmed candidate that is fastest, None while the untuned schedule is.
        best_gain: how many times as fast as the untuned schedule it is.
        best_times: what that comes from: times of it, and of the untuned schedule in turns with it.
        trials: trials of this run.
        idle: trials since the last gain.
        failures: failed trials of this run, by kind.
        error: what the last of them said.
        guess: what our design space is entered at, None where generic rules serve.
        search: where candidates come from, once it is needed.
        status: why it ended; "" while it goes on.
    """

    task: Task
    names: tuple[str, ...]
    workload: Workload
    baseline: Candidate
    known: list[Trial]
    roof: float
    untuned: float | None = None
    best: Candidate | None = None
    best_gain: float = 1.0
    best_times: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    trials: int = 0
    idle: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    error: str = ""
    guess: Candidate | None = None
    search: Search | None = None
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
    def best_seconds(self) -> float | None:
        """Of what a build would use now."""
        return None if self.untuned is None else self.untuned / self.best_gain

    @property
    def promise(self) -> float:
        """Seconds of an inference that more trials may win: less, the longer none has."""
        if self.best_seconds is None:
            return 0.0
        above = max(_LEAST_ABOVE * self.best_seconds, self.best_seconds - self.roof)
        likely = above if self.guess is not None else _OF_RULES * above
        return self.task.weight * likely / (1.0 + self.idle / (PATIENCE / 4))

    def settled(self, patience: int) -> bool:
        """Whether more trials are not worth their time: so many, and fewer at the roof."""
        at_roof = self.best_seconds is not None and self.best_seconds < _NEAR_ROOF * self.roof
        return self.idle >= (patience / 4 if at_roof else patience)

    def summary(self, status: str) -> TaskSummary:
        """How far it has come, as an event."""
        return TaskSummary(
            self.task.name,
            self.task.weight,
            status,
            self.untuned,
            self.best_seconds,
            self.trials,
            dict(self.failures),
            self.roof,
            self.error,
        )
