"""Where the tuner's time goes: batch by batch to the searches that promise an inference most."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from tvmcomp.errors import TvmcompError
from tvmcomp.targets.description import TargetDescription
from tvmcomp.tuning.cost_model import CostModel
from tvmcomp.tuning.events import Listener
from tvmcomp.tuning.experiments import Experiments
from tvmcomp.tuning.interrupts import interrupts_held
from tvmcomp.tuning.options import TuneOptions
from tvmcomp.tuning.recorder import Recorder
from tvmcomp.tuning.rule_search import RuleSearch
from tvmcomp.tuning.search_strategy import SearchStrategy
from tvmcomp.tuning.space import Candidate, point
from tvmcomp.tuning.space_search import SpaceSearch
from tvmcomp.tuning.task_search import PATIENCE, TaskSearch
from tvmcomp.tuning.trace import kernel_hash

#: A search that settled is not taken up again, whatever number of trials is asked for.
ANY_NUMBER = 2**31 - 1

#: Tasks that are tried together, at most: those that promise most, and so much of that at least.
_TASKS = 16
_LEAST_PROMISE = 0.1


def most_trials(options: TuneOptions) -> int:
    """The limit of ``options.trials`` as the log writes it."""
    return ANY_NUMBER if options.trials is None else options.trials


@dataclass(frozen=True)
class Batches:
    """Those of one run of the tuner.

    Attributes:
        target: what is compiled for.
        options: of the run.
        end: when its budget is over, by :func:`time.monotonic`; None for never.
        experiments: tries the candidates.
        recorder: writes down which searches have ended.
        model: ranks the points of our design spaces.
        tell: is told how a search ended.
    """

    target: TargetDescription
    options: TuneOptions
    end: float | None
    experiments: Experiments
    recorder: Recorder
    model: CostModel
    tell: Listener

    @property
    def trials(self) -> int:
        """Candidates of each task, those of earlier runs included, at most."""
        return most_trials(self.options)

    def run(self, searches: Sequence[TaskSearch]) -> None:
        """Give batch after batch to what promises most, until none is left or time is over."""
        self.experiments.start(searches)
        for search in searches:
            if search.baseline_seconds is None:
                self._end(search, "failed")
            else:
                self.experiments.announce(search)
                with self._failing_alone(search):
                    space = self.options.space
                    search.guess = point(space, search.task.func) if space else None
        patience = PATIENCE
        while self.end is None or time.monotonic() < self.end:
            open_ones = [search for search in searches if not search.status]
            going_on = [search for search in open_ones if not search.settled(patience)]
            if going_on:
                going_on.sort(key=lambda search: -search.promise)
                least = _LEAST_PROMISE * going_on[0].promise
                self._try([each for each in going_on[:_TASKS] if each.promise >= least])
            elif self.end is None or not open_ones:
                break
            else:  # there is time left: on with all of them
                patience *= 2
        for search in searches:
            if not search.status and search.settled(PATIENCE):
                self._end(search, "settled")

    def _try(self, searches: Sequence[TaskSearch]) -> None:
        """Try a batch of candidates of each of ``searches``."""
        batches = []
        for search in searches:
            with self._failing_alone(search):
                batch = self._propose(search)
                if batch:
                    batches.append((search, batch))
        attempts = [(search, each) for search, batch in batches for each in batch]
        seconds = iter(self.experiments.try_all(attempts))
        for search, batch in batches:
            assert search.strategy is not None
            with self._failing_alone(search):
                search.strategy.learn(batch, list(islice(seconds, len(batch))))

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
        left = self.trials - search.trials - (0 if self.options.more else search.already)
        if left <= 0:
            self._end(search, "tuned")
            return []
        if search.strategy is None:
            search.strategy = self._strategy(search)
        batch = search.strategy.propose(min(search.strategy.batch, left))
        if not batch:
            self._end(search, "exhausted")
        return batch

    def _strategy(self, search: TaskSearch) -> SearchStrategy:
        # Not the seed of the run that was cut off: it would draw what is known already.
        seed, func = self.options.seed + 1000 * search.already, search.task.func
        space = self.options.space
        if space is not None and search.guess is not None:
            return SpaceSearch(
                space,
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
                trials = ANY_NUMBER if search.status == "settled" else self.trials
                exhausted = search.status == "exhausted"
                self.recorder.finish(search, trials, exhausted)
