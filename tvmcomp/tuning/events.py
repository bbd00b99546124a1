"""What the tuner tells while it runs: the events that a progress display or ``--json`` shows.

In JSON ``baseline_seconds`` is written ``untuned_seconds``, and ``incumbent_seconds``
``best_seconds``: the names that scripts know.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tvmcomp.old_names import note_old_name


class TuningStarted(msgspec.Struct, frozen=True, tag_field="event", tag="tuning_started"):
    """The tasks that will be tuned: each with at most ``trials`` trials, all in ``budget`` seconds.

    None is no limit.
    """

    tasks: tuple[str, ...]
    trials: int | None
    budget: float | None
    log: str


class TaskStarted(msgspec.Struct, frozen=True, tag_field="event", tag="task_started"):
    """The baseline of a task has its time; the search may begin.

    Attributes:
        task: its name.
        weight: calls of it in one inference.
        trials_done: trials that were in the log already.
        baseline_seconds, incumbent_seconds: of a call.
        roofline_seconds: no schedule takes less, as far as is known.
    """

    task: str
    weight: int
    trials_done: int
    baseline_seconds: float = msgspec.field(name="untuned_seconds")
    incumbent_seconds: float = msgspec.field(name="best_seconds")
    roofline_seconds: float


class TrialDone(msgspec.Struct, frozen=True, tag_field="event", tag="trial_done"):
    """One candidate was tried. Times are medians, in seconds; None where nothing was measured.

    ``incumbent_seconds`` is of the fastest candidate that is confirmed, or else of the baseline.
    """

    task: str
    seconds: float | None
    error: str | None
    incumbent_seconds: float | None = msgspec.field(name="best_seconds")
    baseline_seconds: float | None = msgspec.field(name="untuned_seconds")


class Improved(msgspec.Struct, frozen=True, tag_field="event", tag="improved"):
    """A candidate beat the baseline again in many turns: builds will use it."""

    task: str
    incumbent_seconds: float = msgspec.field(name="best_seconds")
    baseline_seconds: float = msgspec.field(name="untuned_seconds")


class TaskSummary(msgspec.Struct, frozen=True, tag_field="event", tag="task_done"):
    """What became of a task; the event that its search ended.

    Attributes:
        task: its name.
        weight: calls of it in one inference.
        status: ``tuned`` (as many trials as were asked for), ``settled`` (it stopped gaining),
            ``exhausted`` (its design space was tried whole), ``found`` (the log already held it),
            ``failed`` (its baseline did not run), ``open`` (the time was over first),
            ``interrupted`` or ``pending`` (the run was interrupted in it, or before it).
        baseline_seconds: time of the baseline, which a build without records uses, or None.
        incumbent_seconds: time of the incumbent, which a build now uses, or None; of the baseline
            while there is no incumbent.
        trials: trials of this run; of tasks that are one kernel by several names, the first's.
        failures: failed trials of this run, by kind.
        roofline_seconds: no schedule takes less, as far as is known; None where nothing is.
        error: what the last failed trial of this run said, or "".
    """

    task: str
    weight: int
    status: str
    baseline_seconds: float | None = msgspec.field(name="untuned_seconds")
    incumbent_seconds: float | None = msgspec.field(name="best_seconds")
    trials: int
    failures: dict[str, int]
    roofline_seconds: float | None = None
    error: str = ""

    @property
    def untuned_seconds(self) -> float | None:
        """What ``baseline_seconds`` was called."""
        note_old_name("untuned_seconds", "baseline_seconds")
        return self.baseline_seconds

    @property
    def best_seconds(self) -> float | None:
        """What ``incumbent_seconds`` was called."""
        note_old_name("best_seconds", "incumbent_seconds")
        return self.incumbent_seconds


class TuneSummary(msgspec.Struct, frozen=True, tag_field="event", tag="tuning_done"):
    """What became of a run, as :func:`tvmcomp.tuning.tune` returns it; its last event.

    Attributes:
        tasks: every task, in the order given.
        seconds: how long the run took.
        interrupted: it was stopped with Ctrl-C; the same call again goes on.
        log: the folder that holds the records.
        problems: lines of the log that were skipped.
        faults: what the boards did wrong, and how often.
        baseline_seconds, tuned_seconds: an inference of the network without any records, and with
            the incumbents of this run's tasks, in turns; None where kernels were measured alone.
        unchanged: the network was measured, and nothing was kept for it: it stays as it is without
            records, and ``tuned_seconds`` is None.
    """

    tasks: tuple[TaskSummary, ...]
    seconds: float
    interrupted: bool
    log: str
    problems: tuple[str, ...] = ()
    faults: dict[str, int] = {}
    baseline_seconds: float | None = msgspec.field(default=None, name="untuned_seconds")
    tuned_seconds: float | None = None
    unchanged: bool = False

    @property
    def untuned_seconds(self) -> float | None:
        """What ``baseline_seconds`` was called."""
        note_old_name("untuned_seconds", "baseline_seconds")
        return self.baseline_seconds

    @property
    def trials(self) -> int:
        """Trials of this run, all tasks together."""
        return sum(task.trials for task in self.tasks)

    @property
    def failed(self) -> bool:
        """Whether not one task could be tuned."""
        return bool(self.tasks) and all(task.status == "failed" for task in self.tasks)


Event = TuningStarted | TaskStarted | TrialDone | Improved | TaskSummary | TuneSummary

#: Is told each event as it happens.
Listener = Callable[[Event], None]
