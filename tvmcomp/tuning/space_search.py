"""Search in a design space of ours: every point at most once, the most promising ones first."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from tvmcomp.tuning.cost_model import CostModel
from tvmcomp.tuning.log.record import Argument, Trial, Versions
from tvmcomp.tuning.space import Candidate, Space, WholeKernels, point
from tvmcomp.tuning.trace import kernel_hash
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

Choices = Mapping[str, int]

#: More points than these are not listed; as many are drawn at random.
_MOST_POINTS = 1 << 14
#: One candidate in so many is not the model's: it differs from the analytic guess in one choice,
#: or is drawn at random where all of those are tried.
_EXPLORED = 4


class SpaceSearch:
    """Proposes points of a design space, ranked by a cost model that other tasks share.

    Args:
        space: the design space.
        func: the PrimFunc.
        arguments: its tensors, which the model knows it by.
        guess: the point that the schedule itself would choose.
        model: predicts how much faster than the baseline a point is.
        tried: trials of earlier runs: they are not proposed again.
        seen: hashes of further kernels that are known.
        seed: of the draws.
    """

    batch = 4

    def __init__(
        self,
        space: Space | WholeKernels,
        func: PrimFunc,
        arguments: tuple[Argument, ...],
        guess: Candidate,
        model: CostModel,
        tried: Sequence[Trial],
        seen: Collection[str],
        seed: int,
    ) -> None:
        self._space = space
        self._func = func
        self._arguments = arguments
        self._model = model
        self._random = random.Random(seed)
        self._seen = {*seen, *(trial.kernel for trial in tried)}
        self._guess = guess
        self._left = self._all_points(guess.options)
        # With other versions a point may be another kernel; those that are the same are in _seen.
        versions = Versions.here()
        known = {frozenset(t.choices.items()) for t in tried if t.versions == versions}
        self._left = [each for each in self._left if frozenset(each.items()) not in known]
        # What differs from the analytic guess in one choice teaches most while nothing is known.
        self._left.sort(key=lambda each: not self._near(each))

    def _all_points(self, options: Mapping[str, tuple[int, ...]]) -> list[Choices]:
        if math.prod(len(values) for values in options.values()) <= _MOST_POINTS:
            drawn = [
                dict(zip(options, values, strict=True))
                for values in itertools.product(*options.values())
            ]
            self._random.shuffle(drawn)
            return list(drawn)
        many = (
            {name: self._random.choice(values) for name, values in options.items()}
            for _ in range(_MOST_POINTS)
        )
        return list({frozenset(each.items()): each for each in many}.values())

    def propose(self, count: int) -> list[Candidate]:
        """Up to ``count`` new candidates; none when there is nothing left to try."""
        predicted = self._model.predict(self._guess.space, self._arguments, self._left)
        if predicted is not None:
            # Stable: points that the model can't tell apart keep their random order.
            order = sorted(range(len(self._left)), key=lambda i: -predicted[i])
            self._left = [self._left[i] for i in order]
        candidates: list[Candidate] = []
        while self._left and len(candidates) < count:
            explore = predicted is not None and len(candidates) % _EXPLORED == _EXPLORED - 1
            at = self._explored() if explore else 0
            candidate = self._apply(self._left.pop(at))
            if candidate is not None:
                candidates.append(candidate)
        return candidates

    def _explored(self) -> int:
        near = (index for index, choices in enumerate(self._left) if self._near(choices))
        return next(near, self._random.randrange(len(self._left)))

    def _near(self, choices: Choices) -> bool:
        guess = self._guess.choices
        return sum(choices[name] != guess[name] for name in guess) == 1

    def _apply(self, choices: Choices) -> Candidate | None:
        try:
            candidate = point(self._space, self._func, choices)
        except tvm.s_tir.ScheduleError:  # choices that do not go together
            return None
        assert candidate is not None
        kernel = kernel_hash(candidate.schedule)
        if kernel in self._seen:  # other choices made the same kernel
            return None
        self._seen.add(kernel)
        return candidate

    def learn(self, candidates: Sequence[Candidate], seconds: Sequence[float | None]) -> None:
        """Nothing of its own: the tuner tells the model that all searches share."""
