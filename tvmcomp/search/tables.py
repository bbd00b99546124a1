"""The tables that a search chooses from: what parts of a network may become, cost and harm.

A *group* is channels that can only go together; its levels say how many are left. A *unit* is an
operator with weights and what is computed of its results; a *config* of it is a number format, bits
of stored weights, a rank, and the level of each group that it touches. What configs cost adds up,
and so do their harms, about: noise at the network's outputs over their variance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec


class Level(msgspec.Struct, frozen=True):
    """So many channels of a group are left; and the harm of that alone."""

    left: int
    harm: float


class Group(msgspec.Struct, frozen=True):
    """Channels that go together; the first level is all of them."""

    name: str
    levels: tuple[Level, ...]


class Format(msgspec.Struct, frozen=True):
    """What a unit computes in, the bits its weights are stored in, and their rank; None is full."""

    compute: Literal["float32", "int8"] = "float32"
    bits: int = 32
    rank: int | None = None


class Config(msgspec.Struct, frozen=True):
    """One way to have a unit.

    Attributes:
        format: of it.
        levels: of each of the unit's groups, in their order.
        seconds: of a run.
        bytes: its weights take in the artifact's file.
        memory: bytes they take when it runs.
        harm: of the format alone, with all channels.
    """

    format: Format
    levels: tuple[int, ...]
    seconds: float
    bytes: float
    memory: float
    harm: float


class Unit(msgspec.Struct, frozen=True):
    """Operators that are decided on together.

    Attributes:
        name: of the operator with weights, or of the first.
        nodes: all of them.
        groups: positions of the groups whose channels it reads or gives.
        configs: what it may become.
    """

    name: str
    nodes: tuple[str, ...]
    groups: tuple[int, ...]
    configs: tuple[Config, ...]


class Border(msgspec.Struct, frozen=True):
    """Tensors between two units, by their positions: what it takes that one computes in integers
    and the other does not."""

    giver: int
    reader: int
    seconds: float


class Tables(msgspec.Struct, frozen=True):
    """All of a network's groups and units, and the borders between units with weights."""

    groups: tuple[Group, ...]
    units: tuple[Unit, ...]
    borders: tuple[Border, ...] = ()

    def only(self, allowed: Callable[[Config], bool]) -> Tables:
        """The tables with some of the configs."""
        return msgspec.structs.replace(
            self,
            units=tuple(
                msgspec.structs.replace(unit, configs=tuple(filter(allowed, unit.configs)))
                for unit in self.units
            ),
        )


class Choice(msgspec.Struct, frozen=True):
    """One level for each group and one config for each unit, that agree."""

    levels: tuple[int, ...]
    configs: tuple[Config, ...]

    def total(self, of: Callable[[Config], float]) -> float:
        """The sum of something over the units."""
        return sum(of(config) for config in self.configs)

    def changes(self, tables: Tables) -> list[Border]:
        """The borders where number formats differ."""
        integers = [config.format.compute == "int8" for config in self.configs]
        return [b for b in tables.borders if integers[b.giver] != integers[b.reader]]

    def harm(self, tables: Tables) -> float:
        """Of formats and of what the groups lose."""
        groups = zip(tables.groups, self.levels, strict=True)
        return sum(c.harm for c in self.configs) + sum(g.levels[i].harm for g, i in groups)
