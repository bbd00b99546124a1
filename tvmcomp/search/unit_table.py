"""What a unit may become: every format at every width, and lower ranks with all channels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from tvmcomp.compress.channels.units import Sizes
from tvmcomp.compress.channels.units import Unit as Operators
from tvmcomp.compress.cost import Compute
from tvmcomp.compress.fake_quantize.bits import CHOICES, Cost
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.search.costs import COMPUTES, Costs
from tvmcomp.search.ranks import Rank
from tvmcomp.search.tables import Config, Format

#: Bytes in the file that go with an output beside its codes: scale, and correction of its sum.
_AN_OUTPUT = 3.0


class UnitTable:
    """The configs of one unit."""

    def __init__(
        self,
        position: int,
        unit: Operators,
        weights: Sequence[Weight],
        bits: Mapping[str, Cost],
        harm: float,
        costs: Costs,
        sizes: Sizes,
        levels: Sequence[Sequence[int]],
        ranks: Mapping[Compute, Sequence[Rank]],
    ) -> None:
        """Args:
        position: of the unit in the network.
        unit: it.
        weights: that its operators hold.
        bits: of each weight, what few bits cost.
        harm: of the unit in 8 bits.
        costs: of the network's units.
        sizes: of its tensors.
        levels: of each group, the classes that may be left.
        ranks: that its operator may have, with all channels.
        """
        self._position, self._unit, self._weights = position, unit, weights
        self._bits, self._harm, self._costs = bits, harm, costs
        self._sizes, self._levels, self._ranks = sizes, levels, ranks

    def configs(self) -> Iterator[Config]:
        """What it may become."""
        computes = COMPUTES if self._weights else COMPUTES[:1]
        for places in itertools.product(*(range(len(self._levels[g])) for g in self._unit.groups)):
            for compute in computes:
                network = self._costs.network
                shares = {
                    g: network.share(g, self._levels[g][place])
                    for g, place in zip(self._unit.groups, places, strict=True)
                }
                seconds = self._costs.seconds(self._position, compute, shares)
                if not any(places):
                    yield from self._of_lower_rank(compute, places, seconds)
                if compute == "float":
                    elements = sum(self._elements(w, shares) for w in self._weights)
                    size = 4.0 * elements
                    yield Config(Format(), places, seconds, size, size, 0.0)
                    continue
                for bits in CHOICES:
                    yield Config(
                        Format("int8", bits), places, seconds, *self._bytes(shares, bits),
                        self._harm + self._more_harm(bits),
                    )  # fmt: skip

    def _of_lower_rank(
        self, compute: Compute, places: tuple[int, ...], seconds: float
    ) -> Iterator[Config]:
        elements = sum(math.prod(weight.shape) for weight in self._weights)
        for each in self._ranks.get(compute, ()):
            left = each.share * elements
            took = seconds * each.time
            if compute == "float":
                format_, harm, size = Format(rank=each.rank), each.noise, 4 * left
                yield Config(format_, places, took, size, size, harm)
            else:
                format_, harm = Format("int8", 8, each.rank), each.noise + self._harm
                yield Config(format_, places, took, left, left, harm)

    def _bytes(self, shares: Mapping[int, float], bits: int) -> tuple[float, float]:
        """Of the weights in so many bits: in the file, and when they run."""
        in_file = memory = 0.0
        for weight in self._weights:
            left = self._elements(weight, shares)
            cost = self._bits[weight.tensor]
            scales = weight.scales * left / max(cost.count, 1)
            in_file += cost.bytes_at(bits) * left / max(cost.count, 1) + _AN_OUTPUT * scales
            memory += left
        return in_file, memory

    def _elements(self, weight: Weight, shares: Mapping[int, float]) -> float:
        """Elements of a weight that are left."""
        whole = {g: min(share, 1.0) for g, share in shares.items()}
        every = dict.fromkeys(whole, 1.0)
        shape = self._sizes.shape(weight.tensor, whole)
        full = self._sizes.shape(weight.tensor, every)
        return math.prod(weight.shape) * math.prod(shape) / max(math.prod(full), 1e-9)

    def _more_harm(self, bits: int) -> float:
        """What fewer bits of the weights add to 8."""
        return sum(
            self._bits[w.tensor].noise_at(bits) - self._bits[w.tensor].noise_at(8)
            for w in self._weights
        )
