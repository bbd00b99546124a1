"""How long a training is, and how fast it learns when: by steps, and by the clock where it is late.

A budget of time becomes a number of steps once the first few have been timed, so that a run can be
repeated to the bit by its number of steps. A machine that gets slower than it was then does not
make the training longer: its rate falls with the clock, as :attr:`Schedule.late` says.
"""

from __future__ import annotations

import math

import msgspec

#: Steps that are timed; the rate rises meanwhile, which depends on nothing else.
_TIMED_STEPS = 10
_WARM_STEPS = 20
#: Of the budget: the rest is for a machine that gets slower.
_PLANNED_SHARE = 0.9
#: Of the highest rate; it is what is left at the end.
_LEAST_RATE = 0.01


class Schedule(msgspec.Struct, forbid_unknown_fields=True):
    """Where a training is; as JSON a part of its checkpoint.

    Attributes:
        budget: seconds that it may take; None for no limit.
        most_steps: that it may take; None for no limit.
        planned: steps that it will take; None while they are timed.
        step: those that are done.
        seconds: that it has taken, the preparation too.
        timed: seconds of the steps that are timed.
        halvings: how often the rate was halved.
        late: whether the clock has decided a rate, so that a repetition may differ.
    """

    budget: float | None
    most_steps: int | None
    planned: int | None = None
    step: int = 0
    seconds: float = 0.0
    timed: float = 0.0
    halvings: int = 0
    late: bool = False

    def __post_init__(self) -> None:
        if self.budget is None and self.planned is None:
            self.planned = self.most_steps

    def count_step(self, step_seconds: float, other_seconds: float, overhead: float) -> None:
        """A step is done.

        Args:
            step_seconds: that it took.
            other_seconds: that were spent since the step before it, on no step.
            overhead: seconds a step that other work will take on average.
        """
        self.step += 1
        self.seconds += step_seconds + other_seconds
        if self.planned is None and self.step <= _TIMED_STEPS:
            self.timed += step_seconds
        if self.planned is None and self.budget is not None and self.step >= _TIMED_STEPS:
            left = _PLANNED_SHARE * self.budget - self.seconds
            fits = self.step + int(left / (self.timed / self.step + overhead))
            self.planned = max(self.step, min(fits, self.most_steps or fits))

    @property
    def over(self) -> bool:
        """Whether no step is left."""
        steps = self.planned or self.most_steps
        return (steps is not None and self.step >= steps) or self._by_clock >= 1.0

    def rate(self) -> float:
        """What the rates are multiplied by at this step: it rises, and falls as a cosine does."""
        warm = min(1.0, (self.step + 1) / _WARM_STEPS)
        share = 0.0
        if self.planned is not None:
            # As if there were no plan yet while steps are timed, whoever planned.
            rest = max(1, self.planned - _TIMED_STEPS)
            share = max(0, self.step - _TIMED_STEPS) / rest
            if self._by_clock > self.step / self.planned:
                share, self.late = max(share, self._by_clock), True
        fallen = _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
        return float(warm * fallen * 0.5**self.halvings)

    @property
    def _by_clock(self) -> float:
        if self.budget is None:
            return 0.0
        return self.seconds / self.budget if self.budget > 0 else 1.0
