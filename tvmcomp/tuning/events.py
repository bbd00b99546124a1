"""What the tuner tells while it runs: the events that a progress display or ``--json`` shows."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class TuningStarted(msgspec.Struct, frozen=True, tag_field="event", tag="tuning_started"):
    """The tasks that will be tuned, each with at most ``trials`` trials."""

    tasks: tuple[str, ...]
    trials: int
    log: str


class TaskStarted(msgspec.Struct, frozen=True, tag_field="event", tag="task_started"):
    """A task begins; ``trials_done`` of it were in the log already."""

    task: str
    trials_done: int


class TrialDone(msgspec.Struct, frozen=True, tag_field="event", tag="trial_done"):
    """One candidate was tried. Times are medians, in seconds; None where nothing was measured."""

    task: str
    seconds: float | None
    error: str | None
    best_seconds: float | None
    untuned_seconds: float | None


class TaskSummary(msgspec.Struct, frozen=True, tag_field="event", tag="task_done"):
    """What became of a task; the event that it ended.

    Attributes:
        task: its name.
        weight: calls of it in one inference.
        status: ``tuned``, ``exhausted`` (its design space was tried whole), ``found`` (the log
            already held it), ``failed`` (no candidate ran), ``interrupted`` or ``pending`` (the
            run was interrupted before it).
        untuned_seconds: median time of what a build without records uses, or None.
        best_seconds: median time of the best record, or None.
        trials: trials of this run.
        failures: failed trials of this run, by kind.
    """

    task: str
    weight: int
    status: str
    untuned_seconds: float | None
    best_seconds: float | None
    trials: int
    failures: dict[str, int]


class TuneSummary(msgspec.Struct, frozen=True, tag_field="event", tag="tuning_done"):
    """What became of a run, as :func:`tvmcomp.tuning.tune` returns it; its last event.

    Attributes:
        tasks: every task, in the order given.
        seconds: how long the run took.
        interrupted: it was stopped with Ctrl-C; the same call again goes on.
        log: the folder that holds the records.
        problems: lines of the log that were skipped.
    """

    tasks: tuple[TaskSummary, ...]
    seconds: float
    interrupted: bool
    log: str
    problems: tuple[str, ...] = ()

    @property
    def trials(self) -> int:
        """Trials of this run, all tasks together."""
        return sum(task.trials for task in self.tasks)


Event = TuningStarted | TaskStarted | TrialDone | TaskSummary | TuneSummary

#: Is told each event as it happens.
Progress = Callable[[Event], None]
