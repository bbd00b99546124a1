"""How many channels each group keeps: from all of them on, what harms least for what it saves.

A step takes a group down to a lower whole number of vectors, its least important channels first.
Of all steps, of one vector or of several, that is taken which does the least harm for what it
saves; so a step that saves nothing by itself is passed over. Harm is taken to add up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tvmcomp.compress.channels.cost import NetworkCost, Vectors
from tvmcomp.compress.channels.groups import Groups

#: Of a group at least this share stays: with less, its layer tells hardly anything.
_LEAST_SHARE = 0.125


@dataclass(frozen=True)
class Widths:
    """Channels that go.

    Attributes:
        removed: classes.
        cost: of what is left, as a share of all.
        harm: of what is gone.
    """

    removed: frozenset[int]
    cost: float
    harm: float


def descent(
    groups: Groups,
    importance: Mapping[int, float],
    cost: NetworkCost,
    keep: Collection[str] = (),
) -> Iterator[Widths]:
    """Fewer and fewer channels, all of them first.

    Args:
        groups: of the network.
        importance: of each class.
        cost: of the network.
        keep: names of groups that lose nothing.
    """
    order = [sorted(group.classes, key=lambda c: importance[c]) for group in groups.groups]
    harms = [[importance[each] for each in classes] for classes in order]
    gone = [0] * len(order)
    shares = cost.all()
    steps = [
        [] if group.name in keep else list(_steps(cost.vectors[g]))
        for g, group in enumerate(groups.groups)
    ]
    spent = harm = 0.0
    while True:
        yield Widths(
            frozenset(each for g, count in enumerate(gone) for each in order[g][:count]),
            1 - spent / cost.whole,
            harm,
        )
        best: tuple[float, int, int, float, float] | None = None
        for g, counts in enumerate(steps):
            for count in counts:
                if count <= gone[g]:
                    continue
                left = cost.share(g, len(order[g]) - count)
                saved = cost.saved(shares, g, left)
                more = sum(harms[g][gone[g] : count])
                if saved > 0 and (best is None or more / saved < best[0]):
                    best = more / saved, g, count, saved, more
        if best is None:
            return
        _, g, count, saved, more = best
        gone[g] = count
        shares[g] = cost.share(g, len(order[g]) - count)
        spent += saved
        harm += more


def _steps(vectors: Vectors) -> Iterator[int]:
    """How many classes may go, so that whole vectors are left."""
    least = max(vectors.size, _LEAST_SHARE * vectors.classes)
    for left in range(vectors.whole, 0, -vectors.size):
        if least <= left < vectors.classes:
            yield vectors.classes - left
