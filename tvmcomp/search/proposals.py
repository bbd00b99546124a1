"""Which choice to try next: for what is wanted least of, how much harm may be allowed.

For each aim and each tolerance of lost points the harm that may be allowed is found by bisection, a
whole network tried at each step. Steps of all aims take turns, so that a search that is stopped has
seen something of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from tvmcomp.search.bisection import Bisection
from tvmcomp.search.correct import fitted
from tvmcomp.search.goals import Figures, Goals
from tvmcomp.search.solve import HARM, Cost, solve
from tvmcomp.search.tables import Choice, Config, Tables
from tvmcomp.search.time_model import Seen, TimeModel

#: Points lost that are tried for where no goal says how many.
TOLERANCES = (0.5, 2.0)
TIME, BYTES, MEMORY, BOTH = "time", "bytes", "memory", "both"
#: What a network is held to, below the goals: predictions are not exact.
_MARGINS = (0.97, 0.88, 0.78)


@dataclass(frozen=True)
class Learnt:
    """A network that was measured.

    Attributes:
        seen: its choice and times.
        file_bytes, memory_bytes: of it; None is not known.
    """

    seen: Seen
    file_bytes: float
    memory_bytes: float | None


class Predictions:
    """What whole networks have by the tables, corrected by those that were measured.

    Attributes:
        time, bytes, memory: how each is predicted.
    """

    def __init__(self, tables: Tables) -> None:
        """Args:
        tables: as they were measured.
        """
        self._base = tables
        self.fit([])

    @property
    def tables(self) -> Tables:
        """What there is to choose from, times corrected."""
        return self.time.tables

    def fit(self, measured: Collection[Learnt]) -> None:
        """Correct them by networks that were measured."""
        self.time = TimeModel(self._base, [each.seen for each in measured])
        self.bytes = fitted([(m.seen.choice, m.file_bytes) for m in measured], size_of)
        self.memory = fitted(
            [(m.seen.choice, m.memory_bytes) for m in measured if m.memory_bytes is not None],
            memory_of,
        )

    def ms(self, choice: Choice) -> float:
        """Of a network of this choice."""
        return self.time.ms(choice)

    def file_bytes(self, choice: Choice) -> float:
        """Of its file."""
        return self.bytes.whole(choice, size_of)

    def costs(self) -> dict[str, Cost]:
        """What the solver adds up."""
        size = self.bytes.cost(size_of)
        ms, whole = self._whole
        return {
            TIME: milliseconds,
            BYTES: size,
            BOTH: lambda config: milliseconds(config) / ms + size(config) / whole,
            MEMORY: self.memory.cost(memory_of),
        }

    def changes(self) -> dict[str, float]:
        """What a second of a border's is, of each cost."""
        ms = 1e3 * self.time.change
        return {TIME: ms, BOTH: ms / self._whole[0]}

    @property
    def _whole(self) -> tuple[float, float]:
        """The ms and bytes of the first of all configs."""
        first = Choice((), tuple(unit.configs[0] for unit in self.tables.units))
        size = first.total(self.bytes.cost(size_of))
        return first.total(milliseconds) or 1.0, size or 1.0

    def limits(self, goals: Goals, margin: float = 1.0) -> dict[str, float]:
        """What units may take together, by the goals."""
        pairs = (
            (TIME, goals.max_latency_ms, self.time.rest),
            (BYTES, goals.max_size_bytes, self.bytes.constant),
            (MEMORY, goals.max_memory_bytes, self.memory.constant),
        )
        return {name: margin * goal - rest for name, goal, rest in pairs if goal is not None}

    def choose(
        self, aim: str, harm: float | None, goals: Goals, margin: float = 1.0
    ) -> Choice | None:
        """The choice with the least of ``aim`` within the goals and with so much harm at most."""
        limits = self.limits(goals, margin)
        if harm is not None:
            limits[HARM] = harm
        return solve(self.tables, self.costs(), aim, limits, self.changes())


def milliseconds(config: Config) -> float:
    """Of a config."""
    return 1e3 * config.seconds


def size_of(config: Config) -> float:
    """Bytes of a config's weights in the file."""
    return config.bytes


def memory_of(config: Config) -> float:
    """Bytes of a config's weights when they run."""
    return config.memory


def plain(tables: Tables, allowed: Callable[[Config], bool]) -> Choice:
    """The choice with all channels and the least harm, of some formats where there are others."""
    whole = tables.only(lambda config: not any(config.levels))
    units = tuple(
        min(
            filter(allowed, unit.configs) if any(map(allowed, unit.configs)) else unit.configs,
            key=lambda config: config.harm,
        )
        for unit in whole.units
    )
    return Choice((0,) * len(tables.groups), units)


@dataclass(frozen=True)
class Proposal:
    """A choice to try.

    Attributes:
        choice: it.
        bisection: that asks; None where goals alone do.
        harm: that was allowed.
    """

    choice: Choice
    bisection: Bisection | None = None
    harm: float = 0.0


def proposals(
    predictions: Predictions, goals: Goals, at_once: int = 1
) -> Iterator[Sequence[Proposal]]:
    """Choices to try, one after the other or a few at once; the next are asked for when the last
    are known.

    What is wanted least of within the goals: harm first, where other goals bound it; then time and
    size, for as much harm as the tolerance bears.

    Args:
        predictions: what choices have, as well as is known by now.
        goals: of the search.
        at_once: how many at most; no two are of one bisection.
    """
    bounded = bool(predictions.limits(goals))
    for margin in _MARGINS if bounded else ():
        choice = predictions.choose(HARM, None, goals, margin)
        if choice is not None:
            yield [Proposal(choice)]
    tolerances = TOLERANCES if goals.max_drop is None else (goals.max_drop,)
    aims = [Bisection(aim, each) for each in tolerances for aim in (TIME, BOTH, BYTES)]
    while aims:
        found: list[Proposal] = []
        for bisection in list(aims):
            harm = bisection.next
            if harm is None:
                aims.remove(bisection)
                continue
            choice = predictions.choose(bisection.aim, harm, Goals())
            if choice is None:  # nothing harms so little
                bisection.learn(harm, -math.inf)
                continue
            found.append(Proposal(choice, bisection, harm))
            if len(found) == at_once:
                yield found
                found = []
        if found:
            yield found


def least_figures(predictions: Predictions) -> Figures:
    """The least time, bytes and memory of all choices, each by itself, whatever they harm."""

    found = {aim: predictions.choose(aim, None, Goals()) for aim in (TIME, BYTES, MEMORY)}
    fastest, smallest, least = found.values()
    return Figures(
        0.0,
        None if fastest is None else predictions.ms(fastest),
        None if smallest is None else predictions.file_bytes(smallest),
        None if least is None else predictions.memory.whole(least, memory_of),
    )
