"""The tuner's live view: share done, time left, incumbents beside baselines, failures."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tvmcomp.fitted import shortened
from tvmcomp.tuning.events import (
    Event,
    Improved,
    TaskStarted,
    TaskSummary,
    TrialDone,
    TuningStarted,
)

#: Rows of the table: the kernels that an inference spends most time in.
_ROWS = 10
#: Cells of a name, and of what is beside it.
_LEAST_NAME, _MOST_NAME, _OTHER_COLUMNS = 12, 40, 72


class _Row:
    """One task as the table shows it."""

    def __init__(self, started: TaskStarted) -> None:
        self.weight = started.weight
        self.baseline = started.baseline_seconds
        self.incumbent = started.incumbent_seconds
        self.roofline = started.roofline_seconds
        self.trials = started.trials_done
        self.status = "…"


class LiveProgress:
    """A :data:`Listener` that draws on ``console``. A context manager."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._start = time.monotonic()
        self._limits = TuningStarted((), None, None, "")
        self._tried = 0
        self._ended = 0
        self._failures: Counter[str] = Counter()
        self._rows: dict[str, _Row] = {}

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
                self._limits = event
            case TaskStarted():
                self._rows[event.task] = _Row(event)
            case TrialDone():
                self._tried += 1
                if event.task in self._rows:
                    self._rows[event.task].trials += 1
                if event.error:
                    self._failures[event.error.split(":")[0]] += 1
            case Improved():
                self._rows[event.task].incumbent = event.incumbent_seconds
            case TaskSummary():
                self._ended += 1
                if event.task in self._rows:
                    self._rows[event.task].status = event.status
        self._live.update(self._view())

    def _view(self) -> RenderableType:
        elapsed = time.monotonic() - self._start
        share = self._share(elapsed)
        rate = 60 * self._tried / elapsed if elapsed else 0.0
        head = Text(f"tuning {share:4.0%}, {self._tried} trials, {rate:.0f} a minute, ")
        head.append(
            f"{_clock(elapsed / share - elapsed)} left" if share else "time left unknown",
        )
        if self._failures:
            counts = ", ".join(f"{kind} {count}" for kind, count in self._failures.items())
            head.append(f"; failed: {counts}", style="yellow")
        if self._rows:
            head.append(f"\n{self._network()}")
        return Group(head, ProgressBar(total=1.0, completed=share, width=60), self._table())

    def _share(self, elapsed: float) -> float:
        """The larger part of what will be done by the limit that is reached first."""
        shares = [self._ended / len(self._limits.tasks) if self._limits.tasks else 1.0]
        if self._limits.budget:
            shares.append(elapsed / self._limits.budget)
        if self._limits.trials and self._limits.tasks:
            done = sum(
                self._limits.trials if row.status != "…" else row.trials
                for row in self._rows.values()
            )
            shares.append(done / (self._limits.trials * len(self._limits.tasks)))
        return min(1.0, max(shares))

    def _network(self) -> str:
        """All kernels of an inference together."""
        rows = self._rows.values()
        baseline = sum(row.weight * row.baseline for row in rows)
        incumbent = sum(row.weight * row.incumbent for row in rows)
        bound = sum(row.weight * row.roofline for row in rows)
        return (
            f"kernels of an inference: {times(baseline, incumbent)}, roofline {bound * 1e3:.3f} ms"
        )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        width = max(_LEAST_NAME, min(_MOST_NAME, self._live.console.width - _OTHER_COLUMNS))
        ranked = sorted(
            self._rows.items(), key=lambda each: each[1].weight * each[1].incumbent, reverse=True
        )
        for name, row in ranked[:_ROWS]:
            table.add_row(
                shortened(name, width),
                times(row.baseline, row.incumbent),
                f"roofline {row.roofline * 1e3:.3f}",
                f"{row.trials} trials",
                row.status,
            )
        if len(ranked) > _ROWS:
            table.add_row(f"and {len(ranked) - _ROWS} more")
        return table


def times(baseline: float | None, incumbent: float | None) -> str:
    """``1.234 -> 0.567 ms (2.18x)``, as far as it is known."""
    if baseline is None or incumbent is None:
        return "–" if incumbent is None else f"{incumbent * 1e3:.3f} ms"
    return f"{baseline * 1e3:.3f} -> {incumbent * 1e3:.3f} ms ({baseline / incumbent:.2f}x)"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
