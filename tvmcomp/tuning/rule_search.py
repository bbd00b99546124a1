"""Search with MetaSchedule's generic rules, for kernels that no schedule of ours is made for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tvmcomp.ffi_import import tvm_ffi
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.log.record import Trial
from tvmcomp.tuning.rebuild import apply_record
from tvmcomp.tuning.space import Candidate
from tvmcomp.tuning.task import module_of
from tvmcomp.tuning.trace import trace_to_json
from tvmcomp.tvm_import import cheap_stack_inspection, tvm

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

#: TVM takes seeds from 1 to this.
_LARGEST_SEED = 2**31 - 2
#: What MetaSchedule is told of how long it will be asked for; the tuner decides that.
_MANY_TRIALS = 1 << 20


def _ignore_annotation(sch: tvm.s_tir.Schedule, block: Any) -> list[tvm.s_tir.Schedule]:
    """The custom rule of a block: none. It does what TVM does where it finds no rule, but TVM also
    prints a warning.
    """
    sch.unannotate(block, "schedule_rule")
    return [sch]


for _name in ("pool_max", "pool_avg", "adaptive_pool_max", "adaptive_pool_avg"):
    tvm_ffi.register_global_func(
        f"s_tir.meta_schedule.cpu.meta_schedule.{_name}", _ignore_annotation, override=True
    )


def _rules(target: TargetDescription) -> Any:
    """MetaSchedule's rules for ``target``; on a GPU without its ones for tensor cores: what they
    make of a product of 16-bit floats is refused by TVM's own checks, and we have schedules for it.
    """
    from tvm.s_tir.meta_schedule.space_generator import PostOrderApply

    if target.family != "cuda":
        return "post-order-apply"
    return PostOrderApply(sch_rules="cuda", postprocs="cuda", mutator_probs="cuda")


class RuleSearch:
    """MetaSchedule's evolutionary search over its generic rules, with its XGBoost cost model.

    Args:
        func: the PrimFunc.
        target: selects the rules.
        tried: trials of earlier runs on the same device: the search starts from them.
        seed: of the search.
    """

    batch = 16

    def __init__(
        self,
        func: PrimFunc,
        target: TargetDescription,
        tried: Sequence[Trial],
        seed: int,
    ) -> None:
        with cheap_stack_inspection():
            from tvm.s_tir import meta_schedule as ms

            self._context = ms.TuneContext(
                mod=module_of(func),
                target=tvm.target.Target(target.tvm_target_dict()),
                space_generator=_rules(target),
                # A population of MetaSchedule's 512 takes longer to evolve than to measure.
                search_strategy=ms.search_strategy.EvolutionarySearch(population_size=128),
                rand_state=seed % _LARGEST_SEED + 1,
                num_threads="logical",
            )
        self._arguments = ms.arg_info.ArgInfo.from_prim_func(func)
        self._database = ms.database.MemoryDatabase()
        self._workload = self._database.commit_workload(self._context.mod)
        self._model = ms.cost_model.XGBModel(num_warmup_samples=16, verbose_eval=0)
        self._seen: set[str] = set()
        self._resume(func, tried)
        self._context.pre_tuning(
            max_trials=_MANY_TRIALS,
            num_trials_per_iter=self.batch,
            database=self._database,
            cost_model=self._model,
        )

    def _resume(self, func: PrimFunc, tried: Sequence[Trial]) -> None:
        known = []
        for trial in tried:
            self._seen.add(json.dumps(trial.trace))
            schedule = apply_record(trial, func) if trial.run_secs else None
            if schedule is not None and not trial.is_baseline:
                known.append((Candidate(schedule, trial.trace), trial.seconds))
        if known:
            self._remember([candidate for candidate, _ in known], [time for _, time in known])

    def propose(self, count: int) -> list[Candidate]:
        """See :class:`SearchStrategy`."""
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
        """See :class:`SearchStrategy`."""
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
                schedule = candidate.schedule
                assert isinstance(schedule, tvm.s_tir.Schedule)  # all of these rules are
                self._database.commit_tuning_record(
                    ms.database.TuningRecord(
                        schedule.trace,
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
