"""The cheapest choice between two forms for each node of a graph: a minimum cut.

A node costs something in either form, and an edge whose ends differ costs something on top. The
cheapest choice of all nodes at once is a minimum cut between two more nodes that stand for the two
forms (Greig, Porteous and Seheult, 1989), and as much as the largest flow between them (Ford and
Fulkerson, 1956): shortest augmenting paths find it (Edmonds and Karp, 1972). A network has some
hundred nodes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

#: Costs are counted in whole steps of this share of their sum, so that rounding can't go round.
_STEPS = 10**9


def cheapest(
    costs: Sequence[tuple[float, float]], borders: Mapping[tuple[int, int], float]
) -> list[bool]:
    """Whether each node takes its second form; of equally cheap choices the one with fewer.

    Args:
        costs: of each node, in its first and in its second form; infinite where it can't take it.
        borders: of pairs of nodes, what it costs that they differ.
    """
    finite = [cost for pair in costs for cost in pair if math.isfinite(cost)]
    unit = (sum(finite) + sum(borders.values())) / _STEPS or 1.0
    more_than_all = 4 * _STEPS

    def steps(cost: float) -> int:
        return min(more_than_all, round(cost / unit)) if math.isfinite(cost) else more_than_all

    first, second = len(costs), len(costs) + 1
    room: list[dict[int, int]] = [{} for _ in range(len(costs) + 2)]

    def join(one: int, other: int, there: int, back: int) -> None:
        room[one][other] = room[one].get(other, 0) + there
        room[other][one] = room[other].get(one, 0) + back

    for node, (in_first, in_second) in enumerate(costs):
        join(first, node, steps(in_second), 0)
        join(node, second, steps(in_first), 0)
    for (one, other), cost in borders.items():
        join(one, other, steps(cost), steps(cost))
    while (path := _path(room, first, second))[1]:
        way = _way(path[0], first, second)
        least = min(room[one][other] for one, other in way)
        for one, other in way:
            room[one][other] -= least
            room[other][one] += least
    # What still can be reached from the second form's node backwards, takes that: nothing else.
    behind = _behind(room, second)
    return [node in behind for node in range(len(costs))]


def _path(room: list[dict[int, int]], first: int, second: int) -> tuple[dict[int, int], bool]:
    """Where each node that has room from ``first`` was reached from, and whether ``second`` was."""
    reached = {first: first}
    pending = deque([first])
    while pending and second not in reached:
        node = pending.popleft()
        for other, left in room[node].items():
            if left > 0 and other not in reached:
                reached[other] = node
                pending.append(other)
    return reached, second in reached


def _way(reached: Mapping[int, int], first: int, second: int) -> list[tuple[int, int]]:
    way, node = [], second
    while node != first:
        way.append((reached[node], node))
        node = reached[node]
    return way


def _behind(room: list[dict[int, int]], second: int) -> set[int]:
    """The nodes that have room to ``second``."""
    found, pending = {second}, [second]
    while pending:
        node = pending.pop()
        for other in room[node]:
            if other not in found and room[other].get(node, 0) > 0:
                found.add(other)
                pending.append(other)
    return found
