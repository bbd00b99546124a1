"""From the times of kernels' calls to times of segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from tvmcomp.formats.segments import Segments
from tvmcomp.passes.lowered import Lowered
from tvmcomp.passes.lowering.kernel_sources import operator_of


class KernelCall(NamedTuple):
    """A call of a kernel in an inference.

    Attributes:
        kernel: its name.
        names: of values that it computes, which begin with their operators'.
    """

    kernel: str
    names: frozenset[str]


def kernel_calls(lowered: Lowered) -> tuple[KernelCall, ...]:
    """The calls of a network, kernel by kernel; those of one kernel in their order."""
    return tuple(
        KernelCall(kernel, names) for kernel, calls in lowered.computed.items() for names in calls
    )


def seconds_of_calls(
    calls: Sequence[KernelCall], profiled: Mapping[str, Sequence[float]], runs: int
) -> tuple[float, ...]:
    """Seconds of each call in an inference: the median over the runs.

    A kernel that is called another number of times than ``calls`` says, as in a loop, shares its
    time among its calls.

    Args:
        calls: those of one kernel in their order.
        profiled: the times of each kernel's calls, run after run.
        runs: how many.
    """
    times = Counter(call.kernel for call in calls)
    each: dict[str, list[float]] = {}
    for kernel, count in times.items():
        seconds = profiled.get(kernel, ())
        if len(seconds) == runs * count:
            each[kernel] = [median(seconds[i::count]) for i in range(count)]
        else:
            each[kernel] = [sum(seconds) / runs / count] * count
    waiting = {kernel: iter(seconds) for kernel, seconds in each.items()}
    return tuple(next(waiting[call.kernel]) for call in calls)


def seconds_of_segments(
    segments: Segments, calls: Sequence[KernelCall], seconds: Sequence[float]
) -> tuple[float, ...]:
    """Seconds of each segment.

    A call that computes operators of several segments counts to those whose anchors are among them;
    one that no name tells of counts to the first, which has no anchor.
    """
    place = segments.of_operator()
    anchors = {name for name in segments.anchors if name is not None}
    total = [0.0] * len(segments.operators)
    for call, taken in zip(calls, seconds, strict=True):
        operators = {operator_of(name, place) for name in call.names} - {None}
        if not operators:  # The network's result has a name of its own; its kernel may tell.
            operators = {operator_of(call.kernel, place)} - {None}
        own = {place[name] for name in operators & anchors or operators if name} or {0}
        for segment in own:
            total[segment] += taken / len(own)
    return tuple(total)
