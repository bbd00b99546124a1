"""How the points that a run may lose are shared among its steps.

A step whose options say how far it goes (``bits = 4``) buys what it was asked for, at whatever
that costs: what all such steps lose of the original, before anything is trained, is measured
first. The rest is for the steps that go as far as points allow (``prune`` without a goal): each
gets an equal part of what those before it left. They get no less than if all steps shared alike,
as what others cost may be mended by training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from tvmcomp.compress.technique import Technique, is_given


class Allowance:
    """Points for the steps of a recipe, one after the other."""

    def __init__(
        self,
        max_drop: float,
        steps: Sequence[Technique],
        cost: Callable[[Sequence[Technique]], float],
    ) -> None:
        """Args:
        max_drop: points that all steps together may lose.
        steps: in order.
        cost: points that steps lose of the original, without training; asked once at most.
        """
        self._max_drop, self._steps, self._cost = max_drop, steps, cost
        self._alike = max_drop / max(1, sum(not step.repeats for step in steps))
        self._spent = 0.0

    def of(self, index: int) -> float:
        """Points that step ``index`` may lose; more than that is worth a note where it has a goal
        of its own."""
        if not goes_as_far_as_allowed(self._steps[index]):
            return self._alike
        sharing = sum(goes_as_far_as_allowed(step) for step in self._steps[index:])
        return max(0.0, self._free - self._spent) / sharing

    def lost(self, index: int, points: float) -> None:
        """Step ``index`` lost ``points`` beyond what was lost before."""
        if goes_as_far_as_allowed(self._steps[index]):
            self._spent += points

    @cached_property
    def _free(self) -> float:
        """Points for all steps that go as far as allowed."""
        sharing = sum(goes_as_far_as_allowed(step) for step in self._steps)
        others = [s for s in self._steps if not s.repeats and not goes_as_far_as_allowed(s)]
        cost = self._cost(others) if others else 0.0
        return max(self._max_drop - cost, self._alike * sharing)


def goes_as_far_as_allowed(step: Technique) -> bool:
    """Whether only points limit a step."""
    return bool(step.goals) and not is_given(step.options, step.goals)
