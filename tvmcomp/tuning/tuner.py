"""Tune a network's kernels, or go on with what was cut off, and say what became of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from tvmcomp.errors import DeviceError
from tvmcomp.targets.description import TargetDescription
from tvmcomp.targets.fingerprint import Fingerprint
from tvmcomp.tuning.batches import Batches, most_trials
from tvmcomp.tuning.cost_model import learned_from
from tvmcomp.tuning.events import TaskSummary, TuneSummary, TuningStarted
from tvmcomp.tuning.experiments import Experiments
from tvmcomp.tuning.incumbents import Incumbents, NetworkOutcome
from tvmcomp.tuning.interrupts import interrupts_held
from tvmcomp.tuning.judge import speedup
from tvmcomp.tuning.log.record import Trial, Workload
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.measure import Bench
from tvmcomp.tuning.network_races import NetworkRaces
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.races import AloneRaces, Races
from tvmcomp.tuning.rebuild import apply_record
from tvmcomp.tuning.recorder import Recorder
from tvmcomp.tuning.roofline import Roofline
from tvmcomp.tuning.space import Candidate, MadeKernel, Scheduled, WholeKernels
from tvmcomp.tuning.task import Task, arguments_of, module_of, workload_hash
from tvmcomp.tuning.task_search import TaskSearch
from tvmcomp.tvm_import import tvm


def tune(
    tasks: Sequence[Task],
    target: TargetDescription,
    log: TuningLog,
    options: TuneOptions,
) -> TuneSummary:
    """Search for faster schedules of ``tasks`` and append every trial to ``log``.

    A task that the log knows as finished, for this instruction set and at least as many trials, is
    not tuned again; one that was cut off goes on where it was. Ctrl-C ends the run in an orderly
    way: it returns, with ``interrupted`` set and everything measured so far kept.

    Args:
        tasks: what to tune.
        target: what to compile for.
        log: where records are found and written.
        options: limits, and where to build and measure.

    Raises:
        DeviceError: the device does not answer, or went away; what was measured is kept.
        LogError: the log can't be read or written.
        ToolError: the linker is missing, or worker processes can't be started.
    """
    start = time.monotonic()
    tell = options.progress or (lambda event: None)
    hashes = [workload_hash(task.func) for task in tasks]
    asked = most_trials(options)
    searches: dict[str, TaskSearch] = {}
    fingerprint: Fingerprint | None = None
    interrupted = False
    faults: dict[str, int] = {}
    outcome: NetworkOutcome | None = None
    try:
        with Bench(
            target,
            options.device,
            options.linker,
            options.in_integers,
            options.builders,
            options.runner,
        ) as bench:
            fingerprint = bench.fingerprint
            left = {
                workload: task
                for workload, task in _merged(tasks, hashes).items()
                if options.more or not log.finished(workload, target, asked, fingerprint)
            }
            names = tuple(task.name for task in left.values())
            tell(TuningStarted(names, options.trials, options.budget, log.where))
            if left:
                roofline = Roofline(target)
                model = learned_from(log, target, fingerprint)
                races: Races = AloneRaces(bench)
                if options.network is not None and options.device is None:
                    with interrupts_held():
                        races = NetworkRaces(bench, options.network())
                recorder = Recorder(target, fingerprint, log, model)
                incumbents = Incumbents(recorder, bench, races, roofline, tell)
                experiments = Experiments(recorder, incumbents, races, roofline, tell)
                end = None if options.budget is None else start + options.budget
                batches = Batches(target, options, end, experiments, recorder, model, tell)
                for workload, task in left.items():
                    trials_here = [
                        trial
                        for trial in log.trials(workload, target)
                        if fingerprint.same_model(trial.device)
                    ]
                    key = Workload(workload, task.name, arguments_of(task.func))
                    named = zip(tasks, hashes, strict=True)
                    names = tuple(each.name for each, own in named if own == workload)
                    new = _new_search(task, names, key, trials_here, options, roofline)
                    new.idle = 0 if options.more else _idle(new.tried)
                    searches[workload] = new
                try:
                    batches.run(list(searches.values()))
                    outcome = incumbents.conclude(list(searches.values()))
                    batches.finish(list(searches.values()))
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
        outcome.baseline_seconds if outcome else None,
        outcome.tuned_seconds if outcome else None,
        outcome.unchanged if outcome else False,
    )
    tell(summary)
    return summary


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
    options: TuneOptions,
    roofline: Roofline,
) -> TaskSearch:
    schedule: Scheduled = tvm.s_tir.Schedule(module_of(task.func))
    if options.apply_baseline is not None:
        made = options.apply_baseline(schedule)
        schedule = made if isinstance(made, MadeKernel) else schedule
    bound = roofline.seconds(task.func, key.arguments)
    search = TaskSearch(task, names, key, Candidate(schedule, [[], []]), known, bound)
    newest = {trial.kernel: trial for trial in known if trial.baseline_secs}
    kept = [trial for trial in newest.values() if trial.confirmed]
    for trial in sorted(kept, key=lambda trial: -speedup(trial.run_secs, trial.baseline_secs)):
        whole = options.space if isinstance(options.space, WholeKernels) else None
        rebuilt = apply_record(trial, task.func, whole)
        if rebuilt is not None:
            search.incumbent = Candidate(rebuilt, trial.trace, trial.space, trial.choices)
            search.speedup = speedup(trial.run_secs, trial.baseline_secs)
            search.incumbent_times = trial.run_secs, trial.baseline_secs
            break
    return search


def _idle(known: Sequence[Trial]) -> int:
    """Candidates that earlier runs tried since they found something faster."""
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
    baseline = min((each.seconds for each in found if each.record.is_baseline), default=None)
    incumbent = min((each.seconds for each in found if each.record.usable), default=baseline)
    ended = log.finished(workload, target, trials, device)
    status = "found" if ended else "pending" if interrupted else "open"
    return TaskSummary(task.name, task.weight, status, baseline, incumbent, 0, {})
