"""Tune a network's kernels: time goes, batch by batch, where an inference can still gain most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median

import msgspec

from tvmcomp.errors import DeviceError, TvmcompError
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.cost_model import CostModel, learned_from
from tvmcomp.tuning.events import Progress, TaskSummary, TuneSummary, TuningStarted
from tvmcomp.tuning.experiments import Experiments
from tvmcomp.tuning.incumbents import Incumbents
from tvmcomp.tuning.interrupts import interrupts_held
from tvmcomp.tuning.jobs import Measured
from tvmcomp.tuning.judge import gain
from tvmcomp.tuning.log.record import Trial, Workload
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.measure import Bench
from tvmcomp.tuning.network import Network
from tvmcomp.tuning.network_races import NetworkRaces
from tvmcomp.tuning.races import AloneRaces, Races
from tvmcomp.tuning.recorder import Recorder
from tvmcomp.tuning.roofline import Roofline
from tvmcomp.tuning.rule_search import RuleSearch
from tvmcomp.tuning.search import Search
from tvmcomp.tuning.space import Candidate, Space, point
from tvmcomp.tuning.space_search import SpaceSearch
from tvmcomp.tuning.task import Task, arguments_of, module_of, workload_hash
from tvmcomp.tuning.task_search import PATIENCE, TaskSearch
from tvmcomp.tuning.trace import apply_record, kernel_hash
from tvmcomp.tvm_import import tvm

#: A search that settled is not taken up again, whatever number of trials is asked for.
_ANY_NUMBER = 2**31 - 1

#: Tasks that are tried together, at most: those that promise most, and so much of that at least.
_TASKS = 16
_LEAST_PROMISE = 0.1

#: Schedules as a build without records does.
Untuned = Callable[["tvm.s_tir.Schedule"], object]


def tune(
    tasks: Sequence[Task],
    target: TargetDescription,
    trials: int | None,
    log: TuningLog,
    *,
    budget: float | None = None,
    device: str | None = None,
    space: Space | None = None,
    untuned: Untuned | None = None,
    network: Callable[[], Network] | None = None,
    in_integers: bool = False,
    cc: str | None = None,
    builders: str | None = None,
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
        trials: candidates of each task, the untuned one included; None for as many as gain.
        log: where records are found and written.
        budget: seconds that the run may take, about; None for no limit.
        device: ``HOST:PORT`` or ``TRACKER:PORT/KEY`` to measure on; None for this machine.
        space: our schedules' design space; MetaSchedule's rules serve where it has none.
        untuned: the schedule of a build without records, measured first; None for plain loops.
        network: makes the network that ``tasks`` are of, if it can be run on this machine; without
            it, and on a device, each kernel is measured alone.
        in_integers: see :func:`tvmcomp.codegen.code_target.code_target`.
        cc: linker command, None for the target's own.
        builders: see :func:`tvmcomp.tuning.builders.open_builders`.
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
    hashes = [workload_hash(task.func) for task in tasks]
    asked = trials if trials is not None else _ANY_NUMBER
    searches: dict[str, TaskSearch] = {}
    fingerprint: Fingerprint | None = None
    interrupted = False
    faults: dict[str, int] = {}
    whole: Measured | None = None
    try:
        with Bench(target, device, cc, in_integers, builders) as bench:
            fingerprint = bench.fingerprint
            left = {
                workload: task
                for workload, task in _merged(tasks, hashes).items()
                if more or not log.finished(workload, target, asked, fingerprint)
            }
            names = tuple(task.name for task in left.values())
            tell(TuningStarted(names, trials, budget, log.where))
            if left:
                roofline = Roofline(target)
                model = learned_from(log, target, fingerprint)
                races: Races = AloneRaces(bench)
                if network is not None and device is None:
                    with interrupts_held():
                        races = NetworkRaces(bench, network())
                recorder = Recorder(target, fingerprint, log, model)
                incumbents = Incumbents(recorder, bench, races, roofline, tell)
                experiments = Experiments(recorder, incumbents, races, roofline, tell)
                end = None if budget is None else start + budget
                run = _Run(
                    target, asked, end, experiments, recorder, model, space, more, tell, seed
                )
                for workload, task in left.items():
                    trials_here = [
                        trial
                        for trial in log.trials(workload, target)
                        if fingerprint.same_model(trial.device)
                    ]
                    key = Workload(workload, task.name, arguments_of(task.func))
                    named = zip(tasks, hashes, strict=True)
                    names = tuple(each.name for each, own in named if own == workload)
                    new = _new_search(task, names, key, trials_here, untuned, roofline)
                    new.idle = 0 if more else _idle(new.tried)
                    searches[workload] = new
                try:
                    run.all(list(searches.values()))
                    whole = incumbents.conclude(list(searches.values()))
                    run.finish(list(searches.values()))
                except DeviceError as error:
                    seen = [f"{fault} ({n} times)" for fault, n in bench.boards.report().items()]
                    hint = f"What went wrong before: {'; '.join(seen)}" if seen else error.hint
                    raise DeviceError(error.what, where=error.where, hint=hint) from error
                finally:
                    faults = bench.boards.report()
    except KeyboardInterrupt:
        interrupted = True
    summaries = []
    for index, (task, workload) in enumerate(zip(tasks, hashes, strict=True)):
        search = searches.get(workload)
        each = _summary(task, search, interrupted, log, target, asked, fingerprint)
        if workload in hashes[:index]:
            each = msgspec.structs.replace(each, trials=0, failures={})
        summaries.append(each)
    summary = TuneSummary(
        tuple(summaries),
        time.monotonic() - start,
        interrupted,
        log.where,
        tuple(log.problems),
        faults,
        *(_whole_seconds(whole) if whole else ()),
    )
    tell(summary)
    return summary


def _whole_seconds(whole: Measured) -> tuple[float, float]:
    """Of the untuned network, and of the tuned one by the gain in the rounds: machines drift."""
    untuned, tuned = whole.run_secs
    seconds = median(untuned)
    return seconds, seconds / gain(tuned, untuned)


def _merged(tasks: Sequence[Task], hashes: Sequence[str]) -> dict[str, Task]:
    """One task for each workload: the same kernel may have several names in a network."""
    merged: dict[str, Task] = {}
    for task, workload in zip(tasks, hashes, strict=True):
        same = merged.get(workload)
        merged[workload] = replace(same, weight=same.weight + task.weight) if same else task
    return merged


def _new_search(
    task: Task,
    names: tuple[str, ...],
    key: Workload,
    known: list[Trial],
    untuned: Untuned | None,
    roofline: Roofline,
) -> TaskSearch:
    schedule = tvm.s_tir.Schedule(module_of(task.func))
    if untuned is not None:
        untuned(schedule)
    roof = roofline.seconds(task.func, key.arguments)
    search = TaskSearch(task, names, key, Candidate(schedule, [[], []]), known, roof)
    newest = {trial.kernel: trial for trial in known if trial.baseline_secs}
    kept = [trial for trial in newest.values() if trial.confirmed]
    for trial in sorted(kept, key=lambda trial: -gain(trial.run_secs, trial.baseline_secs)):
        rebuilt = apply_record(trial, task.func)
        if rebuilt is not None:
            search.best = Candidate(rebuilt, trial.trace, trial.space, trial.choices)
            search.best_gain = gain(trial.run_secs, trial.baseline_secs)
            search.best_times = trial.run_secs, trial.baseline_secs
            break
    return search


def _idle(known: Sequence[Trial]) -> int:
    """Candidates that earlier runs tried since their last gain."""
    tried = set()
    for trial in reversed(known):
        if trial.confirmed:
            break
        tried.add(trial.kernel)
    return len(tried)


def _summary(
    task: Task,
    search: TaskSearch | None,
    interrupted: bool,
    log: TuningLog,
    target: TargetDescription,
    trials: int,
    device: Fingerprint | None,
) -> TaskSummary:
    """What became of a task; of one that this run has not touched, what the log knows."""
    if search is not None and (search.trials or search.status):
        status = search.status or ("interrupted" if interrupted else "open")
        own = replace(search, task=task)
        return own.summary(status)
    if device is None:
        return TaskSummary(task.name, task.weight, "pending", None, None, 0, {})
    workload = workload_hash(task.func)
    ranked = log.ranked(workload, target, device)
    found = [each for each in ranked if device.same_model(each.record.device)]
    untuned = min((each.seconds for each in found if each.record.untuned), default=None)
    best = min((each.seconds for each in found if each.record.usable), default=untuned)
    ended = log.finished(workload, target, trials, device)
    status = "found" if ended else "pending" if interrupted else "open"
    return TaskSummary(task.name, task.weight, status, untuned, best, 0, {})


@dataclass(frozen=True)
class _Run:
    """What all tasks of one call of :func:`tune` share."""

    target: TargetDescription
    trials: int
    end: float | None
    experiments: Experiments
    recorder: Recorder
    model: CostModel
    space: Space | None
    more: bool
    tell: Progress
    seed: int

    def all(self, searches: Sequence[TaskSearch]) -> None:
        """Give each turn to the search that promises most, until none is left or time is over."""
        self.experiments.start(searches)
        for search in searches:
            if search.untuned is None:
                self._end(search, "failed")
            else:
                self.experiments.announce(search)
                with self._failing_alone(search):
                    search.guess = point(self.space, search.task.func) if self.space else None
        patience = PATIENCE
        while self.end is None or time.monotonic() < self.end:
            open_ones = [search for search in searches if not search.status]
            going_on = [search for search in open_ones if not search.settled(patience)]
            if going_on:
                going_on.sort(key=lambda search: -search.promise)
                least = _LEAST_PROMISE * going_on[0].promise
                self._turn([each for each in going_on[:_TASKS] if each.promise >= least])
            elif self.end is None or not open_ones:
                break
            else:  # there is time left: on with all of them
                patience *= 2
        for search in searches:
            if not search.status and search.settled(PATIENCE):
                self._end(search, "settled")

    def _turn(self, searches: Sequence[TaskSearch]) -> None:
        """Try a batch of candidates of each of ``searches``."""
        batches = []
        for search in searches:
            with self._failing_alone(search):
                batch = self._propose(search)
                if batch:
                    batches.append((search, batch))
        entries = [(search, each) for search, batch in batches for each in batch]
        seconds = iter(self.experiments.try_all(entries))
        for search, batch in batches:
            assert search.search is not None
            with self._failing_alone(search):
                search.search.learn(batch, list(islice(seconds, len(batch))))

    @contextmanager
    def _failing_alone(self, search: TaskSearch) -> Iterator[None]:
        """What TVM raises while it looks for candidates ends this search, and no other."""
        try:
            with interrupts_held():
                yield
        except TvmcompError:
            raise
        except Exception as error:  # noqa: BLE001  generic rules may raise anything
            first_line = str(error).strip().split("\n")[0]
            search.error = f"no more candidates: {type(error).__name__}: {first_line}"[:2000]
            search.failures["search error"] += 1
            self._end(search, "failed")

    def _propose(self, search: TaskSearch) -> list[Candidate]:
        """The next candidates of ``search``; where there are none, its search ends."""
        left = self.trials - search.trials - (0 if self.more else search.already)
        if left <= 0:
            self._end(search, "tuned")
            return []
        search.search = search.search or self._open(search)
        batch = search.search.propose(min(search.search.batch, left))
        if not batch:
            self._end(search, "exhausted")
        return batch

    def _open(self, search: TaskSearch) -> Search:
        # Not the seed of the run that was cut off: it would draw what is known already.
        seed, func = self.seed + 1000 * search.already, search.task.func
        if self.space is not None and search.guess is not None:
            return SpaceSearch(
                self.space,
                func,
                search.workload.arguments,
                search.guess,
                self.model,
                search.known,
                {kernel_hash(search.baseline.schedule)},
                seed,
            )
        return RuleSearch(func, self.target, search.known, seed)

    def _end(self, search: TaskSearch, status: str) -> None:
        search.status = status
        self.tell(search.summary(status))

    def finish(self, searches: Sequence[TaskSearch]) -> None:
        """Log which searches have ended. Where most candidates failed, a later run tries again."""
        for search in searches:
            failed = 2 * sum(search.failures.values()) > search.trials
            if search.status not in ("", "failed") and not failed:
                trials = _ANY_NUMBER if search.status == "settled" else self.trials
                exhausted = search.status == "exhausted"
                self.recorder.finish(search, trials, exhausted)
