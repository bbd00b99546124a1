"""Try candidates: build them, measure them beside the untuned schedule, and log what comes of it.

Every measurement takes turns with the untuned schedule in the same session, so a machine that
slows down, and boards that differ, show in both times. A candidate that looks faster has to win
again in many more turns before a build may use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvmcomp.fingerprint import Fingerprint
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.cost_model import CostModel
from tvmcomp.tuning.events import Improved, Progress, TaskStarted, TrialDone
from tvmcomp.tuning.jobs import Failed, Measured
from tvmcomp.tuning.judge import LEAST_GAIN, gain, wins
from tvmcomp.tuning.log.record import Definition, Finished, Target, Trial, Versions, Workload, now
from tvmcomp.tuning.log.tuning_log import TuningLog
from tvmcomp.tuning.measure import Bench
from tvmcomp.tuning.roofline import Roofline
from tvmcomp.tuning.space import Candidate
from tvmcomp.tuning.task import write_module
from tvmcomp.tuning.task_search import TaskSearch
from tvmcomp.tuning.trace import kernel_hash
from tvmcomp.tvm_import import tvm

#: Turns that a candidate has to win in.
_CONFIRMING_ROUNDS = 15
#: Candidates of a batch that are measured again.
_CHALLENGERS = 2


class Experiments:
    """Measures for one run of the tuner.

    Args:
        target: what is compiled for.
        log: gets a line for every trial before the next one is measured.
        bench: builds and measures.
        model: is told of each trial.
        roofline: is raised where a kernel is faster.
        tell: is told what happens.
    """

    def __init__(
        self,
        target: TargetDescription,
        log: TuningLog,
        bench: Bench,
        model: CostModel,
        roofline: Roofline,
        tell: Progress,
    ) -> None:
        self._target = target
        self._log = log
        self._bench = bench
        self._model = model
        self._roofline = roofline
        self._tell = tell

    def start(self, searches: Sequence[TaskSearch]) -> None:
        """Build the untuned schedules, and measure those whose time the log does not hold."""
        for search in searches:
            if self._log.definition(search.workload.hash) is None:
                text = write_module(search.task.func)
                self._log.append(Definition(**_line(search.workload), module=text))
        modules = [_module(search.baseline) for search in searches]
        for index, built in self._bench.build(modules):
            if isinstance(built, Failed):
                self._note(searches[index], searches[index].baseline, built)
            else:
                searches[index].library = built
        for search in searches:
            if search.library is not None:
                self._measure_baseline(search)

    def _measure_baseline(self, search: TaskSearch) -> None:
        assert search.library is not None
        kernel = kernel_hash(search.baseline.schedule)
        known = [t.seconds for t in search.known if t.untuned and t.run_secs and t.kernel == kernel]
        search.untuned = known[-1] if known else None
        if search.untuned is None:
            race = self._bench.race([[search.library]], search.workload.arguments, None)
            ((_, result),) = race
            self._note(search, search.baseline, result)
            if isinstance(result, Failed):
                return
        assert search.untuned is not None and search.best_seconds is not None
        self._roofline.raise_to(search.task.func, search.workload.arguments, search.best_seconds)

    def announce(self, search: TaskSearch) -> None:
        """Tell how a task stands at the start of its search."""
        search.roof = self._roofline.seconds(search.task.func, search.workload.arguments)
        assert search.untuned is not None and search.best_seconds is not None
        self._tell(
            TaskStarted(
                search.task.name,
                search.task.weight,
                search.already,
                search.untuned,
                search.best_seconds,
                search.roof,
            )
        )

    def try_batch(self, search: TaskSearch, batch: Sequence[Candidate]) -> list[float | None]:
        """Build and measure ``batch``; the seconds of each, None where it failed.

        They are scaled to the untuned schedule's time of the beginning.
        """
        assert search.library is not None and search.untuned is not None
        libraries: dict[int, Path] = {}
        for index, built in self._bench.build([_module(candidate) for candidate in batch]):
            if isinstance(built, Failed):
                self._note(search, batch[index], built)
            else:
                libraries[index] = built
        order = sorted(libraries)
        groups = [(search.library, libraries[index]) for index in order]
        gains: dict[int, float] = {}
        arguments = search.workload.arguments
        for at, result in self._bench.race(groups, arguments, search.best_seconds):
            trial = self._note(search, batch[order[at]], result)
            if trial.run_secs:
                gains[order[at]] = gain(trial.run_secs, trial.baseline_secs)
        least = max(LEAST_GAIN, search.best_gain)
        promising = sorted((i for i in gains if gains[i] > least), key=lambda i: -gains[i])
        challengers = promising[:_CHALLENGERS]
        if challengers:
            self._confirm(search, [(batch[i], libraries[i], gains[i]) for i in challengers])
        for path in libraries.values():
            if path != search.best_library:
                path.unlink()
        return [search.untuned / gains[i] if i in gains else None for i in range(len(batch))]

    def _confirm(
        self, search: TaskSearch, challengers: list[tuple[Candidate, Path, float]]
    ) -> None:
        """Let ``challengers`` take many turns with the untuned schedule and the best so far.

        Where its tensors lie in memory can make a kernel slow for a whole session: of the gain now
        and the one before (the third of a challenger's parts), the smaller one counts.
        """
        assert search.library is not None
        if search.best is not None and search.best_library is None:  # it is of an earlier run
            ((_, built),) = self._bench.build([_module(search.best)])
            search.best_library = built if isinstance(built, Path) else None
        if search.best is not None and search.best_library is not None:
            challengers = [*challengers, (search.best, search.best_library, search.best_gain)]
        group = [search.library, *(library for _, library, _ in challengers)]
        arguments, expected = search.workload.arguments, search.best_seconds
        ((_, result),) = self._bench.race([group], arguments, expected, _CONFIRMING_ROUNDS)
        if isinstance(result, Failed):
            return  # each of them has run alone before: the next batch tries again
        baseline, *times = result.run_secs
        best: tuple[float, Candidate, Path] | None = None
        for (candidate, library, before), run_secs in zip(challengers, times, strict=True):
            won = wins(run_secs, baseline)
            wrong = self._wrong(search, candidate, library) if won else ""
            if wrong:
                search.failures["wrong result"] += 1
                self._log.append(self._trial(search, candidate, result.device, error=wrong))
                continue
            trial = self._trial(
                search, candidate, result.device,
                run_secs=run_secs, baseline_secs=baseline, confirmed=won,
            )  # fmt: skip
            self._log.append(trial)
            self._model.learn(trial)
            least = min(before, gain(run_secs, baseline))
            if won and (best is None or least > best[0]):
                best = least, candidate, library
        self._keep(search, best)

    def _wrong(self, search: TaskSearch, candidate: Candidate, library: Path) -> str:
        """How a candidate's results differ from the untuned schedule's, or ""."""
        if candidate is search.best:
            return ""  # it was compared when it became that
        assert search.library is not None
        reason = self._bench.compare(library, search.library, search.workload.arguments)
        return f"wrong result: {reason}" if reason else ""

    def _keep(self, search: TaskSearch, best: tuple[float, Candidate, Path] | None) -> None:
        was, before = search.best, search.best_library
        search.best_gain, search.best, search.best_library = best or (1.0, None, None)
        if before is not None and before != search.best_library:
            before.unlink()
        if search.best is None or search.best is was:
            return
        search.idle = 0
        assert search.best_seconds is not None and search.untuned is not None
        self._roofline.raise_to(search.task.func, search.workload.arguments, search.best_seconds)
        self._tell(Improved(search.task.name, search.best_seconds, search.untuned))

    def finish(self, search: TaskSearch, trials: int, exhausted: bool) -> None:
        """Log that a search ended: it is not run again for ``trials`` trials or fewer."""
        self._log.append(
            Finished(
                **_line(search.workload),
                target=Target.of(self._target),
                device=self._bench.fingerprint,
                trials=trials,
                exhausted=exhausted,
            )
        )

    def _note(self, search: TaskSearch, candidate: Candidate, result: Measured | Failed) -> Trial:
        """Log a first measurement, and tell of it."""
        untuned = candidate is search.baseline
        if isinstance(result, Failed):
            reason = f"{result.kind}: {result.message}"[:2000]
            trial = self._trial(search, candidate, None, error=reason, untuned=untuned)
            search.failures[result.kind] += 1
        else:
            *baseline, run_secs = result.run_secs
            trial = self._trial(
                search, candidate, result.device,
                run_secs=run_secs, untuned=untuned, baseline_secs=baseline[0] if baseline else (),
            )  # fmt: skip
            if untuned:
                search.untuned = trial.seconds
            self._model.learn(trial)
        self._log.append(trial)
        search.trials += 1
        search.idle += 1
        self._tell(
            TrialDone(
                search.task.name,
                trial.seconds if trial.run_secs else None,
                trial.error,
                search.best_seconds,
                search.untuned,
            )
        )
        return trial

    def _trial(
        self, search: TaskSearch, candidate: Candidate, device: Fingerprint | None, **fields: Any
    ) -> Trial:
        return Trial(
            **_line(search.workload),
            target=Target.of(self._target),
            device=device or self._bench.fingerprint,
            trace=candidate.trace,
            kernel=kernel_hash(candidate.schedule),
            space=candidate.space,
            choices=dict(candidate.choices),
            **fields,
        )


def _line(workload: Workload) -> dict[str, Any]:
    return {"workload": workload, "versions": Versions.here(), "date": now()}


def _module(candidate: Candidate) -> str:
    return str(tvm.ir.save_json(candidate.schedule.mod))
