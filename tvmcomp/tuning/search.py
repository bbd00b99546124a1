"""Where candidates come from: our own schedules' design space, or MetaSchedule's generic rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.log.record import Trial
from tvmcomp.tuning.task import module_of
from tvmcomp.tuning.trace import apply_record, trace_to_json
from tvmcomp.tvm_import import cheap_stack_inspection, tvm

if TYPE_CHECKING:
    from tvm.s_tir import Schedule
    from tvm.tirx import PrimFunc

#: Applies a schedule with choices drawn by ``sample_categorical``; False where it has none.
Space = Callable[["Schedule"], bool]

#: So many draws in a row that give nothing new, and a design space counts as exhausted.
_FRUITLESS_DRAWS = 32


@dataclass(frozen=True)
class Candidate:
    """A schedule to try, and its trace as JSON."""

    schedule: Schedule
    trace: list[Any]


class Search(Protocol):
    """A source of candidates that learns from what they turn out to be."""

    def propose(self, count: int) -> list[Candidate]:
        """Up to ``count`` new candidates; none when there is nothing left to try."""

    def learn(self, candidates: Sequence[Candidate], seconds: Sequence[float | None]) -> None:
        """Be told the median time of each candidate, None for one that failed."""


def scheduled(space: Space, func: PrimFunc, seed: int = 0) -> Candidate | None:
    """Apply ``space`` to ``func``, or None where it has no schedule for it."""
    schedule = tvm.s_tir.Schedule(module_of(func), seed=_tvm_seed(seed))
    if not space(schedule):
        return None
    return Candidate(schedule, trace_to_json(schedule.trace))


def serves(space: Space, func: PrimFunc) -> bool:
    """Whether ``space`` has schedules for ``func``."""
    try:
        return scheduled(space, func) is not None
    except tvm.s_tir.ScheduleError:  # it has, and these choices do not go together
        return True


def _tvm_seed(seed: int) -> int:
    """TVM takes seeds from 1 to 2**31 - 1."""
    return seed % (2**31 - 2) + 1


class SpaceSearch:
    """Draws from a design space of ours at random, each point once.

    Our schedules read concrete values as they go, so a draw runs the schedule again from the
    start (what MetaSchedule calls replay-func), which a mutation of a trace would not do.

    Args:
        space: the design space.
        func: the PrimFunc.
        tried: trials of earlier runs, not drawn again.
        seed: of the draws.
    """

    def __init__(self, space: Space, func: PrimFunc, tried: Sequence[Trial], seed: int) -> None:
        self._space = space
        self._func = func
        self._seed = seed
        self._seen = {json.dumps(trial.trace) for trial in tried}

    def propose(self, count: int) -> list[Candidate]:
        """See :class:`Search`."""
        candidates: list[Candidate] = []
        fruitless = 0
        while len(candidates) < count and fruitless < _FRUITLESS_DRAWS:
            self._seed += 1
            candidate = self._draw()
            text = json.dumps(candidate.trace) if candidate else ""
            if candidate is None or text in self._seen:
                fruitless += 1
                continue
            fruitless = 0
            self._seen.add(text)
            candidates.append(candidate)
        return candidates

    def _draw(self) -> Candidate | None:
        try:
            return scheduled(self._space, self._func, self._seed)
        except tvm.s_tir.ScheduleError:  # choices that do not go together
            return None

    def learn(self, candidates: Sequence[Candidate], seconds: Sequence[float | None]) -> None:
        """Nothing to learn: every point is drawn once, in any order."""


class RuleSearch:
    """MetaSchedule's evolutionary search over its generic rules, with its XGBoost cost model.

    Args:
        func: the PrimFunc.
        target: selects the rules.
        trials: an upper bound of what will be proposed.
        tried: trials of earlier runs on the same device: the search starts from them.
        seed: of the search.
    """

    def __init__(
        self,
        func: PrimFunc,
        target: TargetDescription,
        trials: int,
        tried: Sequence[Trial],
        seed: int,
    ) -> None:
        with cheap_stack_inspection():
            from tvm.s_tir import meta_schedule as ms

            self._context = ms.TuneContext(
                mod=module_of(func),
                target=tvm.target.Target(target.tvm_target_dict()),
                space_generator="post-order-apply",
                # A population of MetaSchedule's 512 takes longer to evolve than to measure.
                search_strategy=ms.search_strategy.EvolutionarySearch(population_size=128),
                rand_state=_tvm_seed(seed),
                num_threads="logical",
            )
        self._arguments = ms.arg_info.ArgInfo.from_prim_func(func)
        self._database = ms.database.MemoryDatabase()
        self._workload = self._database.commit_workload(self._context.mod)
        self._model = ms.cost_model.XGBModel(num_warmup_samples=16, verbose_eval=0)
        self._seen: set[str] = set()
        self._resume(func, tried)
        self._context.pre_tuning(
            max_trials=trials * 4,  # those that were tried before count, too
            num_trials_per_iter=min(trials, 16),
            database=self._database,
            cost_model=self._model,
        )

    def _resume(self, func: PrimFunc, tried: Sequence[Trial]) -> None:
        known = []
        for trial in tried:
            self._seen.add(json.dumps(trial.trace))
            schedule = apply_record(trial, func) if trial.run_secs else None
            if schedule is not None and not trial.untuned:
                known.append((Candidate(schedule, trial.trace), trial.seconds))
        if known:
            self._remember([candidate for candidate, _ in known], [time for _, time in known])

    def propose(self, count: int) -> list[Candidate]:
        """See :class:`Search`."""
        while True:
            proposed = self._context.generate_measure_candidates()
            if proposed is None:
                return []
            candidates: list[Candidate] = []
            for measure_candidate in proposed:
                schedule = measure_candidate.sch
                trace = trace_to_json(schedule.trace)
                text = json.dumps(trace)
                if text not in self._seen and len(candidates) < count:
                    self._seen.add(text)
                    candidates.append(Candidate(schedule, trace))
            if candidates:
                return candidates
            self._notify([], [])

    def learn(self, candidates: Sequence[Candidate], seconds: Sequence[float | None]) -> None:
        """See :class:`Search`."""
        results = self._remember(candidates, seconds)
        self._notify(*results)

    def _remember(
        self, candidates: Sequence[Candidate], seconds: Sequence[float | None]
    ) -> tuple[list[Any], list[Any]]:
        from tvm.s_tir import meta_schedule as ms

        measured = [
            ms.search_strategy.MeasureCandidate(candidate.schedule, self._arguments)
            for candidate in candidates
        ]
        results = [
            ms.runner.RunnerResult([time], None)
            if time is not None
            else ms.runner.RunnerResult(None, "failed")
            for time in seconds
        ]
        for candidate, time in zip(candidates, seconds, strict=True):
            if time is not None:
                self._database.commit_tuning_record(
                    ms.database.TuningRecord(
                        candidate.schedule.trace,
                        self._workload,
                        [time],
                        self._context.target,
                        self._arguments,
                    )
                )
        self._model.update(self._context, measured, results)
        return measured, results

    def _notify(self, measured: list[Any], results: list[Any]) -> None:
        self._context.notify_runner_results(measured, results)
