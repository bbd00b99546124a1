"""What the tuner asks of a place to measure in, and the one that measures each kernel alone.

A race is a paired measurement: in every round the baseline runs, and then what it is compared with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tvmcomp.tuning.jobs import Failed, Measured
from tvmcomp.tuning.measure import Bench, Group
from tvmcomp.tuning.space import Candidate, module_text
from tvmcomp.tuning.task_search import TaskSearch

#: A candidate of a task.
Attempt = tuple[TaskSearch, Candidate]


@dataclass(frozen=True, eq=False)
class Kernel:
    """A candidate, built.

    Attributes:
        functions: the kernel's names where it is called -> (library, the function in it).
    """

    functions: Mapping[str, tuple[Path, str]]

    @property
    def libraries(self) -> set[Path]:
        """The files that it needs."""
        return {path for path, _ in self.functions.values()}


class Races(Protocol):
    """Builds candidates, and measures each in turns with the baseline of its task."""

    def prepare(self, searches: Sequence[TaskSearch]) -> Iterator[tuple[TaskSearch, Failed]]:
        """Build the baselines; which of them failed."""

    def baseline(self, search: TaskSearch) -> Measured | Failed:
        """Measure a baseline."""

    def build(self, attempts: Sequence[Attempt]) -> Iterator[tuple[int, Kernel | Failed]]:
        """Build candidates; yields (index, what came of it) of each, in any order."""

    def race(
        self, runners: Sequence[tuple[TaskSearch, Kernel]], rounds: int
    ) -> Iterator[tuple[int, Measured | Failed]]:
        """Measure kernels, each beside the baseline of its task.

        Yields:
            (index, times: the baseline's, then the kernel's) of each, in any order.

        Raises:
            DeviceError: no device is left.
        """

    def whole(self, kernels: Sequence[Kernel], rounds: int) -> Measured | Failed | None:
        """Times of the network: as it is, then with ``kernels`` in it. None where there is none."""

    def keep(self, kernels: Collection[Kernel]) -> None:
        """Remove the files of all candidates but these."""


class AloneRaces:
    """Measures each kernel alone, on random tensors: the :class:`Races` of a board."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._baselines: dict[str, Path] = {}
        self._built: set[Path] = set()

    def prepare(self, searches: Sequence[TaskSearch]) -> Iterator[tuple[TaskSearch, Failed]]:
        """See :class:`Races`."""
        modules = [(module_text(s.baseline), s.workload.arguments) for s in searches]
        for index, built in self._bench.build(modules):
            if isinstance(built, Failed):
                yield searches[index], built
            else:
                self._baselines[searches[index].workload.hash] = built

    def baseline(self, search: TaskSearch) -> Measured | Failed:
        """See :class:`Races`."""
        baseline = self._baselines[search.workload.hash]
        ((_, result),) = self._bench.race([Group([baseline], search.workload.arguments, None)])
        return result

    def build(self, attempts: Sequence[Attempt]) -> Iterator[tuple[int, Kernel | Failed]]:
        """See :class:`Races`."""
        modules = [(module_text(each), search.workload.arguments) for search, each in attempts]
        for index, built in self._bench.build(modules):
            if isinstance(built, Failed):
                yield index, built
            else:
                self._built.add(built)
                yield index, Kernel({"main": (built, "main")})

    def race(
        self, runners: Sequence[tuple[TaskSearch, Kernel]], rounds: int
    ) -> Iterator[tuple[int, Measured | Failed]]:
        """See :class:`Races`."""
        groups = [
            Group(
                [self._baselines[search.workload.hash], *kernel.libraries],
                search.workload.arguments,
                search.incumbent_seconds,
            )
            for search, kernel in runners
        ]
        yield from self._bench.race(groups, rounds)

    def whole(self, kernels: Sequence[Kernel], rounds: int) -> None:
        """See :class:`Races`."""

    def keep(self, kernels: Collection[Kernel]) -> None:
        """See :class:`Races`."""
        self._built = remove_others(self._built, kernels)


def remove_others(libraries: set[Path], kernels: Collection[Kernel]) -> set[Path]:
    """Remove those of ``libraries`` that none of ``kernels`` is in; returns the rest."""
    kept = {path for kernel in kernels for path in kernel.libraries}
    for path in libraries - kept:
        path.unlink()
    return libraries & kept
