"""Time by kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from tvmcomp.runtime.example_inputs import example_inputs

if TYPE_CHECKING:
    from tvmcomp.runtime.session import Session


class KernelTime(msgspec.Struct, frozen=True):
    """One kernel's part of an inference.

    Attributes:
        name: of the kernel in the library; what is no kernel is one entry, where it is measured.
        calls: in one inference.
        ms: of all of them in one inference, each the median over the runs.
        share: of the time of all kernels.
    """

    name: str
    calls: int
    ms: float
    share: float


#: A kernel whose name has nothing but these in it computes nothing.
_MOVES = re.compile(
    r"(fused_)?((copy|join|part|transpose|reshape|concatenate|split|strided_slice|take)\d*_?)+"
    r"((placed|halo)\d*)?|(?!fused_)\w+_pad\d*"
)


def moves(kernels: Iterable[KernelTime]) -> KernelTime:
    """The kernels of a profile that only move data, as one: transposes, copies into a join, parts
    that are read from an address, borders that no kernel writes."""
    found = [each for each in kernels if _MOVES.fullmatch(each.name)]
    return KernelTime(
        "(moves data)",
        sum(each.calls for each in found),
        sum(each.ms for each in found),
        sum(each.share for each in found),
    )


def profile(session: Session, runs: int = 10) -> list[KernelTime]:
    """Time every kernel, the slowest first. To look at the clock costs some ns to µs a call.

    Raises:
        DeviceError: the device failed, or its server has no profiler.
    """
    calls = profile_calls(session, runs)
    total = sum(map(sum, calls.values())) or 1.0
    return sorted(
        (KernelTime(name, len(ms), sum(ms), sum(ms) / total) for name, ms in calls.items()),
        key=lambda kernel: -kernel.ms,
    )


def profile_calls(session: Session, runs: int = 10) -> dict[str, list[float]]:
    """The ms of each call of each kernel in one inference, in their order: medians over the runs,
    which what else the machine does disturbs least.

    Raises:
        DeviceError: as :func:`profile`.
    """
    session.set_inputs(example_inputs(session.artifact))
    session.time(2)
    seconds = session.profile(runs)
    return {name: _by_call(times, runs) for name, times in seconds.items()}


def _by_call(seconds: Sequence[float], runs: int) -> list[float]:
    calls = max(1, len(seconds) // runs)
    return [1e3 * median(seconds[call::calls]) for call in range(calls)]
