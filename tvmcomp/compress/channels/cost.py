"""What a network costs, whichever width its groups have: from a few widths of each operator.

The graph is divided into units: an operator with weights, and what is computed of its results up
to the next. A unit depends on the widths of a few groups (of what it reads and of what it gives).
It is measured with all channels, with half of each of these groups, and with half of all; in
between :mod:`tvmcomp.compress.channels.law` says what it costs. A vector that is not full counts as
full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import onnx

from tvmcomp.compress.channels.cut import cut
from tvmcomp.compress.channels.groups import Group, Groups
from tvmcomp.compress.channels.law import Law
from tvmcomp.compress.channels.units import Sizes, Unit, units_of
from tvmcomp.compress.cost import submodel

#: What each of some models costs: seconds, or multiply-accumulates.
Meter: TypeAlias = Callable[[Sequence[onnx.ModelProto]], list[float]]

#: Groups narrower than so many vectors are cut by half vectors.
_NARROW = 4


@dataclass(frozen=True)
class Vectors:
    """A group in whole vectors.

    Attributes:
        classes: how many it has.
        width: channels of a class.
        size: classes of a vector.
        whole: the most classes that fill whole vectors.
    """

    classes: int
    width: int
    size: int
    whole: int

    @classmethod
    def of(cls, classes: int, width: int, lanes: int) -> Vectors:
        """Of a narrow group the vectors are half ones, or smaller, so that there are two."""
        lanes = lanes if classes * width >= _NARROW * lanes else max(1, lanes // 2)
        size = max(1, min(lanes // width, classes // 2))
        return cls(classes, width, size, classes // size * size)

    def share(self, classes: int) -> float:
        """What so many classes fill, as a share of the whole vectors; over 1 where all of them
        fill more."""
        return math.ceil(classes / self.size) * self.size / self.whole

    @property
    def half(self) -> int:
        """About half of the classes, in whole vectors."""
        return max(self.size, self.whole // self.size // 2 * self.size)


class NetworkCost:
    """What a network costs with so many classes of each group.

    Attributes:
        whole: with all of them.
        vectors: of each group.
        units: of the network.
    """

    def __init__(self, groups: Groups, meter: Meter, lanes: int) -> None:
        """Args:
        groups: of the network.
        meter: measures models.
        lanes: channels of a vector.

        Raises:
            TvmcompError: a unit can't be measured.
        """
        self.vectors = [
            Vectors.of(len(group.classes), width(groups, group), lanes) for group in groups.groups
        ]
        units = self.units = units_of(groups)
        points = [list(self._points(unit)) for unit in units]
        models: list[onnx.ModelProto] = []
        for unit, tried in zip(units, points, strict=True):
            for point in tried:
                gone = {c for g, left in point.items() for c in groups.groups[g].classes[left:]}
                models.append(submodel(cut(groups, gone), unit.nodes))
        costs = iter(meter(models))
        sizes, graph = Sizes(groups), groups.flow.graph
        self._laws = []
        for unit, tried in zip(units, points, strict=True):
            shares = [{g: self.share(g, left) for g, left in point.items()} for point in tried]
            self._laws.append(Law(unit, sizes, graph, shares, [next(costs) for _ in tried]))
        self._of_group = [
            [law for law, unit in zip(self._laws, units, strict=True) if g in unit.groups]
            for g in range(len(groups.groups))
        ]
        self.whole = self.total(self.all())

    def all(self) -> dict[int, float]:
        """The shares of all groups while none has lost anything."""
        return {g: self.share(g, each.classes) for g, each in enumerate(self.vectors)}

    def share(self, group: int, classes: int) -> float:
        """See :meth:`Vectors.share`."""
        return self.vectors[group].share(classes)

    def total(self, shares: Mapping[int, float]) -> float:
        """The network's cost with these shares of its groups."""
        return sum(law.cost(shares) for law in self._laws)

    def of_unit(self, unit: int, shares: Mapping[int, float]) -> float:
        """A unit's cost, by its position, with these shares of its groups."""
        return self._laws[unit].cost(shares)

    def saved(self, shares: Mapping[int, float], group: int, share: float) -> float:
        """What less it costs if one group's share becomes another."""
        then = {**shares, group: share}
        laws = self._of_group[group]
        return sum(law.cost(shares) - law.cost(then) for law in laws)

    def _points(self, unit: Unit) -> Iterator[dict[int, int]]:
        """The classes that are left of the unit's groups, for each measurement: whole vectors; half
        of one, and half of all; and all of one where they fill no whole vectors."""
        whole = {g: self.vectors[g].whole for g in unit.groups}
        yield whole
        for g in unit.groups:
            yield {**whole, g: self.vectors[g].half}
        if len(unit.groups) > 1:
            yield {g: self.vectors[g].half for g in unit.groups}
        for g in unit.groups:
            if self.vectors[g].classes > self.vectors[g].whole:
                yield {**whole, g: self.vectors[g].classes}


def width(groups: Groups, group: Group) -> int:
    """Channels of a class, in the weights that the group comes from."""
    flow = groups.flow
    first = next(made for made in flow.made if made.node == group.name)
    count = int((flow.classes.roots(first.classes) == group.classes[0]).sum())
    return max(1, count)
