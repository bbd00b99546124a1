"""The live line of a build: which stage, how far, how long still."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tvmcomp.fitted import shortened
from tvmcomp.progress import Step
from tvmcomp.tuning.events import Event, TrialDone, TuningStarted


class BuildProgress:
    """Draws each stage of a build as a line with a bar; a ``tvmcomp.progress.Progress``."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._current: TaskID | None = None

    def __enter__(self) -> BuildProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int | None = None) -> Step:
        """Begin a stage; the one before it is over."""
        if self._current is not None:
            done = self._bars.tasks[self._current]
            self._bars.update(self._current, total=done.completed or 1, completed=done.total or 1)
        current = self._current = self._bars.add_task(name, total=total)
        self._stage = name
        return lambda: self._bars.advance(current)

    def status(self, text: str) -> None:
        """Say beside the stage's name how it stands."""
        if self._current is not None:
            self._bars.update(self._current, description=f"{self._stage}: {text}")

    def trial(self, event: Event) -> None:
        """Show the tuner's events as a stage of their own."""
        if isinstance(event, TuningStarted):
            self._step = self.stage("tuning", max(1, len(event.tasks) * (event.trials or 0)))
        elif isinstance(event, TrialDone) and self._current is not None:
            self._bars.update(self._current, description=f"tuning {shortened(event.task, 32)}")
            self._step()
