"""What whole networks take, by tables, and by what units took in the networks that were measured.

    ms = rest + sum of units' ms + change * sum of borders between unlike formats

The tables have each unit's time at all widths, right where they were measured. Every network that
is tried on the way says what its units took in it: a unit that is chosen again as it was there
takes what it took, and the nearer in time to one that was seen, the more that counts. What changes
of format take, as a share of what the model of the target says, is learnt from the units that have
one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import msgspec

from tvmcomp.search.tables import Choice, Config, Format, Tables

#: How much what was seen of all units in a format counts, beside one unit seen as it is; the
#: nearness (of logarithms of times) at which a unit that was seen counts half of that.
_ALL, _NEAR = 0.01, 0.1
#: Of the modelled time of a change, what it may take; and what it is taken for until one was seen:
#: little, as most are fused into a kernel that is there anyway.
_MOST_CHANGE, _FIRST_CHANGE = 3.0, 0.1
#: A change can't take more of the time of a unit that was seen.
_MOST_OF_UNIT = 0.8


@dataclass(frozen=True)
class Seen:
    """A network that was measured.

    Attributes:
        choice: of it.
        ms: of an inference.
        units_ms: of each of its units; none where nothing was profiled.
    """

    choice: Choice
    ms: float
    units_ms: tuple[float, ...] = ()


class TimeModel:
    """Predicts times.

    Attributes:
        tables: with the seconds of configs as networks have them.
        rest: ms of a network that are no unit's.
        change: of the modelled times of changes of format, what they take.
    """

    def __init__(self, base: Tables, seen: Sequence[Seen] = ()) -> None:
        """Args:
        base: as they were measured before whole networks were tried.
        seen: these networks.
        """
        self._base = base
        self._seconds = [{_key(c): c.seconds for c in unit.configs} for unit in base.units]
        self._of_all: dict[str, float] = {}
        networks = [each if each.units_ms else self._shared_out(each) for each in seen]
        self.rest = median([n.ms - sum(n.units_ms) for n in networks] or [0.0])
        self._points: list[list[_Point]] = [[] for _ in base.units]
        for network in networks:
            self._take_in(network, bordering=False)
        self.change = self._change_of(networks)
        for network in networks:
            self._take_in(network, bordering=True)
        self._of_all = {
            compute: median(
                [p.off for each in self._points for p in each if p.compute == compute] or [0.0]
            )
            for compute in ("float32", "int8")
        }
        self.tables = msgspec.structs.replace(
            base,
            units=tuple(
                msgspec.structs.replace(
                    unit,
                    configs=tuple(
                        msgspec.structs.replace(c, seconds=self._expected(u, c))
                        for c in unit.configs
                    ),
                )
                for u, unit in enumerate(base.units)
            ),
        )
        self._now = [{_key(c): c.seconds for c in unit.configs} for unit in self.tables.units]

    def ms(self, choice: Choice) -> float:
        """Of a network of this choice, whichever tables it was chosen from."""
        own = sum(now[_key(c)] for now, c in zip(self._now, choice.configs, strict=True))
        changes = sum(border.seconds for border in choice.changes(self._base))
        return self.rest + 1e3 * (own + self.change * changes)

    def _take_in(self, network: Seen, bordering: bool) -> None:
        """Note what units took, of those on a border between formats or of the others."""
        changes = _changes_by_unit(network.choice, self._base)
        for u, (config, ms) in enumerate(
            zip(network.choice.configs, network.units_ms, strict=True)
        ):
            if (u in changes) == bordering and ms > 0:
                base = self._seconds[u][_key(config)]
                own = 1e-3 * ms
                if bordering:
                    own -= min(self.change * changes[u], _MOST_OF_UNIT * own)
                off = math.log(own / base)
                self._points[u].append(_Point(config.format.compute, math.log(base), off))

    def _change_of(self, networks: Sequence[Seen]) -> float:
        """What changes of format take, of what the model says: what units on borders took beyond
        what they take without."""
        beyond = modelled = 0.0
        for network in networks:
            for u, seconds in _changes_by_unit(network.choice, self._base).items():
                config = network.choice.configs[u]
                beyond += 1e-3 * network.units_ms[u] - self._expected(u, config)
                modelled += seconds
        return min(max(beyond / modelled, 0.0), _MOST_CHANGE) if modelled else _FIRST_CHANGE

    def _expected(self, unit: int, config: Config) -> float:
        """Seconds of a unit by the nearest that was seen of it."""
        base = self._seconds[unit][_key(config)]
        compute, at = config.format.compute, math.log(base)
        weight, total = _ALL, _ALL * self._of_all.get(compute, 0.0)
        for point in self._points[unit]:
            if point.compute == compute:
                near = 1 / (1 + ((point.at - at) / _NEAR) ** 2)
                weight, total = weight + near, total + near * point.off
        return base * math.exp(total / weight)

    def _shared_out(self, network: Seen) -> Seen:
        """A network that was not profiled: its units take what the tables say, in proportion."""
        base = [
            each[_key(c)] for each, c in zip(self._seconds, network.choice.configs, strict=True)
        ]
        return Seen(network.choice, network.ms, tuple(network.ms * b / sum(base) for b in base))


class _Point(NamedTuple):
    """A unit that was seen: the format, and logarithms of its time by the tables and of how many
    times as long it took."""

    compute: str
    at: float
    off: float


def _key(config: Config) -> tuple[tuple[int, ...], Format]:
    return config.levels, config.format


def _changes_by_unit(choice: Choice, tables: Tables) -> dict[int, float]:
    """The units on borders between unlike formats, each with half of what its borders take."""
    found: dict[int, float] = {}
    for border in choice.changes(tables):
        for unit in (border.giver, border.reader):
            found[unit] = found.get(unit, 0.0) + border.seconds / 2
    return found
