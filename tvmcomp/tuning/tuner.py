"""Tune a list of tasks: measure the untuned schedule, search from there, keep every result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.events import (
    Progress,
    TaskStarted,
    TaskSummary,
    TrialDone,
    TuneSummary,
    TuningStarted,
)
from tvmcomp.tuning.jobs import Failed, Measured
from tvmcomp.tuning.log.record import (
    Definition,
    Finished,
    Target,
    Trial,
    Versions,
    Workload,
    now,
)
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.measure import Bench
from tvmcomp.tuning.search import (
    Candidate,
    RuleSearch,
    Search,
    Space,
    SpaceSearch,
    scheduled,
    serves,
)
from tvmcomp.tuning.task import Task, arguments_of, module_of, workload_hash, write_module
from tvmcomp.tuning.trace import kernel_hash
from tvmcomp.tvm_import import tvm

#: Candidates that are built together. The cost model learns between batches.
_BATCH = 16


def tune(
    tasks: Sequence[Task],
    target: TargetDescription,
    trials: int,
    log: TuningLog,
    *,
    device: str | None = None,
    space: Space | None = None,
    untuned: Space | None = None,
    cc: str | None = None,
    more: bool = False,
    progress: Progress | None = None,
    seed: int = 0,
) -> TuneSummary:
    """Search for faster schedules of ``tasks`` and append every trial to ``log``.

    A task that the log knows as finished, for this instruction set and at least ``trials``
    trials, is not tuned again; one that was cut off goes on where it was. Ctrl-C ends the run in
    an orderly way: it returns, with ``interrupted`` set and everything measured so far kept.

    Args:
        tasks: what to tune.
        target: what to compile for.
        trials: candidates of each task, the untuned one included.
        log: where records are found and written.
        device: ``HOST:PORT`` or ``TRACKER:PORT/KEY`` to measure on; None for this machine.
        space: our schedules' design space; MetaSchedule's rules serve where it returns False.
        untuned: the schedule of a build without records, measured first; the plain loops where
            it is None or returns False.
        cc: linker command, None for the target's own.
        more: search again where the log says that a search has finished.
        progress: is told what happens.
        seed: of the searches' random choices.

    Raises:
        DeviceError: the device does not answer, or went away; what was measured is kept.
        LogError: the log can't be read or written.
        ToolError: the linker is missing, or worker processes can't be started.
    """
    start = time.monotonic()
    tell = progress or (lambda event: None)

    def finished(task: Task) -> bool:
        return log.finished(workload_hash(task.func), target, trials)

    left = [task for task in tasks if more or not finished(task)]
    tell(TuningStarted(tuple(task.name for task in left), trials, log.where))
    done: dict[int, TaskSummary] = {}
    interrupted = False
    if left:
        try:
            with Bench(target, device, cc) as bench:
                run = _Run(target, trials, log, bench, space, untuned, more, tell, seed)
                for task in left:
                    # The same kernel may have been tuned a moment ago under another name.
                    if more or not finished(task):
                        done[id(task)] = run.tune_task(task)
                        tell(done[id(task)])
                        if done[id(task)].status == "interrupted":
                            raise KeyboardInterrupt
        except KeyboardInterrupt:
            interrupted = True
    summary = TuneSummary(
        tuple(done.get(id(task)) or _as_stored(task, log, target, trials) for task in tasks),
        time.monotonic() - start,
        interrupted,
        log.where,
        tuple(log.problems),
    )
    tell(summary)
    return summary


def _as_stored(task: Task, log: TuningLog, target: TargetDescription, trials: int) -> TaskSummary:
    """The state of a task that this run has not touched."""
    workload = workload_hash(task.func)
    found = list(log.ranked(workload, target))
    untuned = min((each.seconds for each in found if each.record.untuned), default=None)
    best = found[0].seconds if found else None
    status = "found" if log.finished(workload, target, trials) else "pending"
    return TaskSummary(task.name, task.weight, status, untuned, best, 0, {})


@dataclass
class _State:
    """How far a task has come."""

    task: Task
    workload: Workload
    trials: int = 0
    untuned: float | None = None
    best: float | None = None
    failures: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Run:
    """What all tasks of one call of :func:`tune` share."""

    target: TargetDescription
    trials: int
    log: TuningLog
    bench: Bench
    space: Space | None
    untuned: Space | None
    more: bool
    tell: Progress
    seed: int

    def tune_task(self, task: Task) -> TaskSummary:
        func = task.func
        state = _State(task, Workload(workload_hash(func), task.name, arguments_of(func)))
        known = self.log.trials(state.workload.hash, self.target)
        here = [trial for trial in known if self.bench.fingerprint.same_model(trial.device)]
        for trial in here:
            if trial.run_secs:
                state.best = min(state.best or trial.seconds, trial.seconds)
        baselines = [trial.seconds for trial in here if trial.untuned and trial.run_secs]
        state.untuned = min(baselines, default=None)
        already = 0 if self.more else len(here)
        self.tell(TaskStarted(task.name, already))
        try:
            self._define(state.workload, func)
            if state.untuned is None:
                self._try_batch(state, [self._baseline(task)], untuned=True)
            exhausted = self._search(state, here, self.trials - already)
        except KeyboardInterrupt:
            return self._done(state, "interrupted")
        self.log.append(
            Finished(
                **self._where(state.workload),
                trials=already + state.trials,
                exhausted=exhausted,
            )
        )
        status = "exhausted" if exhausted else "tuned" if state.best is not None else "failed"
        return self._done(state, status)

    def _search(self, state: _State, known: Sequence[Trial], trials: int) -> bool:
        """Search until ``trials`` of this run are used up; True if nothing is left to try."""
        if state.trials >= trials:
            return False
        search = self._new_search(state.task, known, trials)
        while state.trials < trials:
            batch = search.propose(min(_BATCH, trials - state.trials))
            if not batch:
                return True
            search.learn(batch, self._try_batch(state, batch))
        return False

    def _new_search(self, task: Task, known: Sequence[Trial], trials: int) -> Search:
        # Not the seed of the run that was cut off: it would draw what is known already.
        seed = self.seed + 1000 * len(known)
        if self.space is not None and serves(self.space, task.func):
            return SpaceSearch(self.space, task.func, known, seed)
        return RuleSearch(task.func, self.target, trials, known, seed)

    def _baseline(self, task: Task) -> Candidate:
        found = scheduled(self.untuned, task.func) if self.untuned is not None else None
        return found or Candidate(tvm.s_tir.Schedule(module_of(task.func)), [[], []])

    def _try_batch(
        self, state: _State, batch: Sequence[Candidate], untuned: bool = False
    ) -> list[float | None]:
        """Build, measure and log ``batch``; the median time of each, None where it failed."""
        seconds: list[float | None] = [None] * len(batch)
        arguments = state.workload.arguments
        for index, result in self.bench.try_out(batch, arguments, state.best):
            trial = self._trial(state.workload, batch[index], result, untuned)
            self.log.append(trial)
            state.trials += 1
            if isinstance(result, Failed):
                state.failures[result.kind] += 1
            else:
                seconds[index] = trial.seconds
                state.best = min(state.best or trial.seconds, trial.seconds)
                if untuned:
                    state.untuned = trial.seconds
            self.tell(
                TrialDone(state.task.name, seconds[index], trial.error, state.best, state.untuned)
            )
        return seconds

    def _trial(
        self, workload: Workload, candidate: Candidate, result: Measured | Failed, untuned: bool
    ) -> Trial:
        line = {
            **self._where(workload),
            "trace": candidate.trace,
            "kernel": kernel_hash(candidate.schedule),
            "untuned": untuned,
        }
        if isinstance(result, Failed):
            return Trial(**line, error=f"{result.kind}: {result.message}")
        return Trial(**line, run_secs=result.run_secs)

    def _define(self, workload: Workload, func: Any) -> None:
        """See that the log holds the kernel itself: it is verified and exported with it."""
        if self.log.definition(workload.hash) is None:
            self.log.append(Definition(**_line(workload), module=write_module(func)))

    def _where(self, workload: Workload) -> dict[str, Any]:
        return {
            **_line(workload),
            "target": Target.of(self.target),
            "device": self.bench.fingerprint,
        }

    def _done(self, state: _State, status: str) -> TaskSummary:
        return TaskSummary(
            state.task.name,
            state.task.weight,
            status,
            state.untuned,
            state.best,
            state.trials,
            dict(state.failures),
        )


def _line(workload: Workload) -> dict[str, Any]:
    return {"workload": workload, "versions": Versions.here(), "date": now()}
