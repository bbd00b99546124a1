"""What units cost on the target, at any width and in each format: by the times of whole networks.

A unit's time depends on its neighbours: what is fused with it, and the formats of what it reads and
gives. So whole networks are built and timed: all channels in float and in int8, which every search
starts with, and about half of them. How a unit's time falls with fewer channels is modelled, and
the model bent so that it goes through both: ``whole * modelled share ** bend``. Channels that fill
no whole vectors may take far more than some more that do: what is cut to whole vectors takes the
modelled share of what half of them, which are whole vectors, took.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import onnx

from tvmcomp.compress.channels.cost import NetworkCost, Vectors
from tvmcomp.compress.channels.cut import cut
from tvmcomp.compress.channels.groups import Groups
from tvmcomp.compress.cost import Compute, OperatorTimes
from tvmcomp.search.operator_times import of_nodes
from tvmcomp.search.timing import Timed

COMPUTES: tuple[Compute, ...] = ("float", "int8")
#: How far the model is bent: times of small units are noisy.
_MOST_BENT = 2.0
#: Modelled shares nearer to 1 tell nothing of how times fall.
_TELLING = 0.95
#: A unit's time that no name tells of, in parts of the network's: no unit is free.
_LEAST = 1e-4

#: Times a float network in a format, one that computes anything; None where there is no time left.
Probe: TypeAlias = Callable[[onnx.ModelProto, Compute], Timed | None]


class Costs:
    """The costs of a network's units.

    Attributes:
        network: its units and their groups' vectors.
        notes: what was not measured, and why.
    """

    def __init__(
        self, groups: Groups, times: OperatorTimes, whole: Mapping[Compute, Timed], probe: Probe
    ) -> None:
        """Args:
        groups: of the network, in float.
        times: of the target.
        whole: the network with all channels, in each format.
        probe: times others.

        Raises:
            TvmcompError: a network can't be built, or the device failed.
        """
        modelled = OperatorTimes(times.target)
        modelled.measured = False
        lanes = self._lanes = max(1, times.target.vector_bits // 32)
        self._modelled = {
            compute: NetworkCost(groups, partial(modelled.in_turns, compute=compute), lanes)
            for compute in COMPUTES
        }
        self.network = self._modelled["float"]
        self.notes: list[str] = []
        self._whole = {compute: self._seconds(whole[compute], compute) for compute in COMPUTES}
        self._bends = dict.fromkeys(COMPUTES, [1.0] * len(self.network.units))
        self._narrow: dict[Compute, list[float]] = {}
        self._all = self.network.all()
        self._half = [_half(each, lanes) for each in self.network.vectors]
        self._halves = {g: self.network.share(g, left) for g, left in enumerate(self._half)}
        if not groups.groups:
            return
        narrow = self._cut_to_half(groups)
        for compute in COMPUTES:
            timed = probe(narrow, compute)
            if timed is None:
                self.notes.append(
                    f"how times in {compute} fall with fewer channels is modelled: the budget did "
                    "not last to measure it"
                )
            elif timed.operators_ms:
                self._narrow[compute] = self._seconds(timed, compute)
                self._bends[compute] = self._bent(compute, self._narrow[compute])

    def seconds(self, unit: int, compute: Compute, shares: Mapping[int, float]) -> float:
        """Of a unit, by its position, with these shares of its groups."""
        whole = self._whole[compute][unit]
        share = self._share(unit, compute, shares)
        if compute in self._narrow and self._becomes_even(unit, shares):
            half = self._share(unit, compute, self._halves)
            return min(whole, self._narrow[compute][unit] * share / half)
        return whole * share ** self._bends[compute][unit]

    def _becomes_even(self, unit: int, shares: Mapping[int, float]) -> bool:
        """Whether some group of the unit ends inside a vector as it is, and none does with these
        shares."""
        ragged = [g for g in self.network.units[unit].groups if self._ends_inside(g, self._all[g])]
        return bool(ragged) and not any(self._ends_inside(g, shares[g]) for g in ragged)

    def _ends_inside(self, group: int, share: float) -> bool:
        """Whether so much of a group leaves a vector that is not full."""
        vectors = self.network.vectors[group]
        left = min(round(share * vectors.whole), vectors.classes)
        return left * vectors.width % self._lanes > 0

    def _share(self, unit: int, compute: Compute, shares: Mapping[int, float]) -> float:
        """What the model says is left of a unit's time."""
        model = self._modelled[compute]
        return model.of_unit(unit, shares) / max(model.of_unit(unit, model.all()), 1e-12)

    def _seconds(self, timed: Timed, compute: Compute) -> list[float]:
        """Of each unit in a network that was timed; by the model where nothing was profiled."""
        units, whole = self.network.units, 1e-3 * timed.p50_ms
        model = self._modelled[compute]
        if not timed.operators_ms:
            own = [model.of_unit(i, model.all()) for i in range(len(units))]
            return [whole * each / sum(own) for each in own]
        found = (1e-3 * of_nodes(timed.operators_ms, unit.nodes) for unit in units)
        return [max(each, _LEAST * whole) for each in found]

    def _cut_to_half(self, groups: Groups) -> onnx.ModelProto:
        """The network with half of all groups."""
        halves = zip(groups.groups, self._half, strict=True)
        return cut(groups, {c for group, left in halves for c in group.classes[left:]})

    def _bent(self, compute: Compute, narrow: Sequence[float]) -> list[float]:
        """How the model is bent to go through the times of the narrow network, by unit."""
        bends = []
        for unit, (half, whole) in enumerate(zip(narrow, self._whole[compute], strict=True)):
            share = self._share(unit, compute, self._halves)
            bend = math.log(half / whole) / math.log(share) if share < _TELLING else 1.0
            bends.append(min(max(bend, 0.0), _MOST_BENT))
        return bends


def _half(vectors: Vectors, lanes: int) -> int:
    """About half of a group's classes: full vectors where it has more than one, as half of a
    vector may take as long as two full ones."""
    full = max(1, lanes // vectors.width)
    if 2 * vectors.classes < 3 * full:
        return vectors.half
    return full * max(1, round(vectors.classes / full / 2))
