"""What parts of a network could lose, what that would save and what it would harm."""

from __future__ import annotations

import msgspec


class Sensitivity(msgspec.Struct, frozen=True):
    """What a part of a network could lose.

    Attributes:
        name: of the first operator that it comes from.
        kind: of what is lost: ``channels`` or ``ranks``.
        count: how many there are.
        left: how many of them would be left.
        saved: of the network's time on the target, from 0 to 1.
        harm: how far its outputs would diverge, in nats a sample, or as a share of their variance,
            by second-order statistics, before anything is mended.
        operators: all that it takes part in.
    """

    name: str
    kind: str
    count: int
    left: int
    saved: float
    harm: float
    operators: tuple[str, ...]
