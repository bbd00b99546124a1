"""The tuner's live view in a terminal: share done, time left, best against untuned, failures."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tvmcomp.tuning.events import (
    Event,
    TaskStarted,
    TaskSummary,
    TrialDone,
    TuningStarted,
)


class LiveProgress:
    """A :data:`Progress` that draws on ``console``. A context manager."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._start = time.monotonic()
        self._total = 0
        self._per_task = 0
        self._done = 0
        self._tried = 0
        self._failures: Counter[str] = Counter()
        self._current: TrialDone | TaskStarted | None = None
        self._finished: list[TaskSummary] = []

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take in one event and draw."""
        match event:
            case TuningStarted():
                self._per_task = event.trials
                self._total = event.trials * len(event.tasks)
            case TaskStarted():
                self._current = event
                self._done = self._per_task * len(self._finished) + event.trials_done
            case TrialDone():
                self._current = event
                self._done += 1
                self._tried += 1
                if event.error:
                    self._failures[event.error.split(":")[0]] += 1
            case TaskSummary():
                self._finished.append(event)
                # An exhausted task gives its unused trials back.
                self._done = self._per_task * len(self._finished)
        self._live.update(self._view())

    def _view(self) -> RenderableType:
        share = self._done / self._total if self._total else 1.0
        elapsed = time.monotonic() - self._start
        rate = self._tried / elapsed if elapsed else 0.0
        left = (self._total - self._done) / rate if rate else None
        head = Text(f"tuning {share:4.0%}, {self._tried} trials, {60 * rate:.0f} a minute, ")
        head.append("time left unknown" if left is None else f"{_clock(left)} left")
        if self._failures:
            counts = ", ".join(f"{kind} {count}" for kind, count in self._failures.items())
            head.append(f"; failed: {counts}", style="yellow")
        table = Table.grid(padding=(0, 2))
        for task in self._finished[-8:]:
            table.add_row(task.task, times(task.untuned_seconds, task.best_seconds), task.status)
        match self._current:
            case TrialDone() as trial:
                table.add_row(trial.task, times(trial.untuned_seconds, trial.best_seconds), "…")
            case TaskStarted() as started:
                table.add_row(started.task, "", "…")
        return Group(head, ProgressBar(total=1.0, completed=share, width=60), table)


def times(untuned: float | None, best: float | None) -> str:
    """``1.234 -> 0.567 ms (2.18x)``, as far as it is known."""
    if untuned is None or best is None:
        return "–" if best is None else f"{best * 1e3:.3f} ms"
    return f"{untuned * 1e3:.3f} -> {best * 1e3:.3f} ms ({untuned / best:.2f}x)"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
