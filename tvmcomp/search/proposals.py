"""Which choice to try next: for what is wanted least of, how much harm may be allowed.

The harm in the tables is of each choice alone, before anything is mended, and no points: so for
each aim and each tolerance of lost points the harm that may be allowed is found by bisection, a
whole network tried at each step. Steps of all aims take turns, so that a search that is stopped has
seen something of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tvmcomp.search.correct import Correction, fitted
from tvmcomp.search.goals import Figures, Goals
from tvmcomp.search.solve import HARM, Cost, solve
from tvmcomp.search.tables import Choice, Config, Tables

#: The harm that is allowed first, how far it goes until both sides are known, and when a bisection
#: is fine enough.
_FIRST, _STRIDE, _FINE = 0.03, 5.0, 1.4
_LEAST, _MOST = 1e-5, 3.0
#: Points lost that are tried for where no goal says how many.
TOLERANCES = (0.5, 2.0)
TIME, BYTES, MEMORY, BOTH = "time", "bytes", "memory", "both"
#: What a network is held to, below the goals: predictions are not exact.
_MARGINS = (0.97, 0.88, 0.78)


@dataclass
class Predictions:
    """What whole networks have by the tables, corrected by those that were measured."""

    tables: Tables
    time: Correction = field(default_factory=Correction)
    bytes: Correction = field(default_factory=Correction)
    memory: Correction = field(default_factory=Correction)

    def fit(self, measured: list[tuple[Choice, float, float, float | None]]) -> None:
        """Correct them.

        Args:
            measured: choices, with ms, bytes of the file and bytes of memory.
        """
        self.time = fitted([(choice, ms) for choice, ms, _, _ in measured], milliseconds)
        self.bytes = fitted([(choice, size) for choice, _, size, _ in measured], size_of)
        known = [(choice, m) for choice, _, _, m in measured if m is not None]
        self.memory = fitted(known, memory_of)

    def ms(self, choice: Choice) -> float:
        """Of a network of this choice."""
        return self.time.whole(choice, milliseconds)

    def file_bytes(self, choice: Choice) -> float:
        """Of its file."""
        return self.bytes.whole(choice, size_of)

    def costs(self) -> dict[str, Cost]:
        """What the solver adds up."""
        time, size = self.time.cost(milliseconds), self.bytes.cost(size_of)
        first = Choice((), tuple(unit.configs[0] for unit in self.tables.units))
        scale = first.total(time) or 1.0, first.total(size) or 1.0
        return {
            TIME: time,
            BYTES: size,
            BOTH: lambda config: time(config) / scale[0] + size(config) / scale[1],
            MEMORY: self.memory.cost(memory_of),
        }

    def limits(self, goals: Goals, margin: float = 1.0) -> dict[str, float]:
        """What units may take together, by the goals."""
        pairs = (
            (TIME, goals.max_latency_ms, self.time),
            (BYTES, goals.max_size_bytes, self.bytes),
            (MEMORY, goals.max_memory_bytes, self.memory),
        )
        return {n: margin * goal - c.constant for n, goal, c in pairs if goal is not None}

    def choose(
        self, aim: str, harm: float | None, goals: Goals, margin: float = 1.0
    ) -> Choice | None:
        """The choice with the least of ``aim`` within the goals and with so much harm at most."""
        limits = self.limits(goals, margin)
        if harm is not None:
            limits[HARM] = harm
        return solve(self.tables, self.costs(), aim, limits)


def milliseconds(config: Config) -> float:
    """Of a config by itself."""
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


@dataclass
class Bisection:
    """How much harm may be allowed, for one aim and tolerance.

    Attributes:
        aim: what is to be little.
        tolerance: points that may be lost.
        held, broken: the most harm that was held to, and the least that was not.
    """

    aim: str
    tolerance: float
    held: float | None = None
    broken: float | None = None

    @property
    def next(self) -> float | None:
        """The harm to allow next; None where it is known."""
        if self.held is None and self.broken is None:
            return _FIRST
        if self.broken is None:
            assert self.held is not None
            return self.held * _STRIDE if self.held < _MOST else None
        if self.held is None:
            return self.broken / _STRIDE if self.broken > _LEAST else None
        fine = self.broken / self.held < _FINE
        return None if fine else math.sqrt(self.held * self.broken)

    def learn(self, harm: float, drop: float) -> None:
        """What a network with so much harm lost."""
        if drop <= self.tolerance:
            self.held = max(harm, self.held or 0.0)
        else:
            self.broken = min(harm, self.broken or math.inf)
        if self.held and self.broken and self.held >= self.broken:
            self.broken = None  # chance: less was lost with more


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


def proposals(predictions: Predictions, goals: Goals) -> Iterator[Proposal]:
    """Choices to try, one after the other; each is asked for when the last is known.

    What is wanted least of within the goals: harm first, where other goals bound it; then time and
    size, for as much harm as the tolerance bears.
    """
    bounded = bool(predictions.limits(goals))
    for margin in _MARGINS if bounded else ():
        choice = predictions.choose(HARM, None, goals, margin)
        if choice is not None:
            yield Proposal(choice)
    tolerances = TOLERANCES if goals.max_drop is None else (goals.max_drop,)
    aims = [Bisection(aim, each) for each in tolerances for aim in (TIME, BOTH, BYTES)]
    while aims:
        for bisection in list(aims):
            harm = bisection.next
            if harm is None:
                aims.remove(bisection)
                continue
            choice = predictions.choose(bisection.aim, harm, Goals())
            if choice is None:  # nothing harms so little
                bisection.learn(harm, -math.inf)
                continue
            yield Proposal(choice, bisection, harm)


def least_figures(predictions: Predictions) -> Figures:
    """The least time, bytes and memory of all choices, each by itself, whatever they harm."""

    def least(name: str, correction: Correction) -> float | None:
        choice = solve(predictions.tables, costs, name, {})
        return None if choice is None else correction.constant + choice.total(costs[name])

    costs = predictions.costs()
    return Figures(
        0.0,
        least(TIME, predictions.time),
        least(BYTES, predictions.bytes),
        least(MEMORY, predictions.memory),
    )
