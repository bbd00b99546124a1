"""A design space of our schedules and its points: answers to the choices that a schedule asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tvmcomp.schedules.blocking import Decide
from tvmcomp.tuning.task import module_of, normalize
from tvmcomp.tuning.trace import trace_to_json
from tvmcomp.tvm_import import tvm

if TYPE_CHECKING:
    from tvm.s_tir import Schedule
    from tvm.tirx import PrimFunc

#: Applies a schedule whose choices the second argument answers; returns the space's name, or ""
#: where it has no schedule. What it asks for does not depend on the answers.
Space = Callable[["Schedule", Decide], str]


class Scheduled(Protocol):
    """A schedule that is applied."""

    @property
    def mod(self) -> Any:
        """Its module, the kernel as ``main``."""


@dataclass(frozen=True)
class MadeKernel:
    """A kernel that was made as a whole, and not by steps of a schedule: a :class:`Scheduled`."""

    mod: Any


@dataclass(frozen=True)
class WholeKernels:
    """A design space whose points are kernels made as a whole, as on GPUs. A record of one holds no
    trace: the point is enough.

    Attributes:
        make: of a PrimFunc and answers to its choices the space's name and the kernel, or None
            where it has none. A choice is asked for without a schedule.
    """

    make: Callable[[PrimFunc, Decide], tuple[str, PrimFunc] | None]


@dataclass(frozen=True)
class Candidate:
    """A schedule to try.

    Attributes:
        schedule: applied already.
        trace: its trace as JSON.
        space: the design space that it is a point of, "" where it comes from generic rules.
        choices: the point.
        options: what could have been chosen.
    """

    schedule: Scheduled
    trace: list[Any]
    space: str = ""
    choices: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def module_text(candidate: Candidate) -> str:
    """The scheduled module, as ``tvm.ir.save_json`` writes it."""
    return str(tvm.ir.save_json(candidate.schedule.mod))


def point(
    space: Space | WholeKernels, func: PrimFunc, choices: Mapping[str, int] | None = None
) -> Candidate | None:
    """Apply ``space`` to ``func``, or None where it has no schedule for it.

    Args:
        space: the design space.
        func: the PrimFunc.
        choices: answers by name; the schedule's best guess serves where there is none.

    Raises:
        ScheduleError: the choices do not go together.
    """
    answers = _Answers(choices or {})
    if isinstance(space, WholeKernels):
        return _whole(space, func, answers)
    schedule = tvm.s_tir.Schedule(module_of(func))
    name = space(schedule, answers)
    if not name:
        return None
    trace = trace_to_json(schedule.trace)
    return Candidate(schedule, trace, name, answers.chosen, answers.options)


def _whole(space: WholeKernels, func: PrimFunc, answers: _Answers) -> Candidate | None:
    try:
        made = space.make(normalize(func), answers)
    except ValueError as error:
        raise tvm.s_tir.ScheduleError(str(error)) from None
    if made is None:
        return None
    name, kernel = made
    module = tvm.IRModule({"main": kernel.with_attr("global_symbol", "main")})
    return Candidate(MadeKernel(module), [[], []], name, answers.chosen, answers.options)


class _Answers:
    """A :class:`Decide` that gives known answers, and notes what was asked."""

    def __init__(self, wanted: Mapping[str, int]) -> None:
        self._wanted = wanted
        self.options: dict[str, tuple[int, ...]] = {}
        self.chosen: dict[str, int] = {}

    def __call__(
        self, sch: Schedule | None, name: str, candidates: Sequence[int], best_guess: int
    ) -> int:
        options = tuple(candidates)
        value = self._wanted.get(name, best_guess)
        if value not in options:  # another choice rules it out
            raise tvm.s_tir.ScheduleError(f"{name} can't be {value} here")
        self.options[name] = options
        self.chosen[name] = value
        if sch is None:
            return value
        # Recorded as a sample, so that MetaSchedule's tools see a decision in the trace.
        drawn = sch.sample_categorical(
            list(options), [1 / len(options)] * len(options), decision=options.index(value)
        )
        return int(sch.get(drawn))
