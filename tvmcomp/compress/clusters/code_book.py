"""Code books: the few values that are nearest to many, each as important as it is said to be.

In one dimension the best clusters are intervals, so the best of all is found by dynamic programming
over the sorted values (Wang and Song, "Ckmeans.1d.dp", The R Journal, 2011). Very many different
values are first taken together in bins, and the centres then moved by Lloyd's iteration over all of
them.
"""

from __future__ import annotations

import numpy as np

#: Bins that values are taken together in, a multiple of the clusters, and at most.
_BINS_A_CLUSTER, _FEWEST_BINS, _MOST_BINS = 16, 256, 1024
_ITERATIONS = 20
#: Share of values that are 0, from which 0 stays a value: they were pruned.
_PRUNED = 0.05


def code_book(values: np.ndarray, importance: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` values, or fewer, ascending, of the least weighted squared distance.

    Where many values are 0, as in pruned weights, 0 is one of them.

    Args:
        values: float, any shape, finite.
        importance: of each, not negative; the same shape.
        count: at least 2.

    Returns:
        float64 [at most count], different from each other.
    """
    flat, weights = values.astype(np.float64).reshape(-1), importance.reshape(-1)
    zeros = flat == 0
    if np.mean(zeros) >= _PRUNED:
        rest: list[float] = (
            [] if zeros.all() else list(_means(flat[~zeros], weights[~zeros], count - 1))
        )
        return np.unique([0.0, *rest])
    return np.unique(_means(flat, weights, count))


def nearest_index(values: np.ndarray, book: np.ndarray) -> np.ndarray:
    """The index into the ascending ``book`` that is nearest to each of ``values``."""
    return np.searchsorted((book[1:] + book[:-1]) / 2, values)


def _means(values: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    if not weights.any():
        weights = np.ones_like(weights)
    points, where = np.unique(values, return_inverse=True)
    mass = np.bincount(where, weights)
    most = int(np.clip(_BINS_A_CLUSTER * count, _FEWEST_BINS, _MOST_BINS))
    if len(points) <= most:
        return _best(points, mass, count)
    edges = np.linspace(points[0], points[-1], most + 1)[1:-1]
    bins = np.searchsorted(edges, points)
    weight = np.bincount(bins, mass, most)
    centre = np.bincount(bins, mass * points, most) / np.maximum(weight, 1e-300)
    used = weight > 0
    book = _best(centre[used], weight[used], count)
    for _ in range(_ITERATIONS):
        own = nearest_index(points, book)
        total = np.bincount(own, mass, len(book))
        moved = np.bincount(own, mass * points, len(book)) / np.maximum(total, 1e-300)
        moved = np.sort(np.where(total > 0, moved, book))
        if np.allclose(moved, book, rtol=1e-7, atol=0):
            break
        book = moved
    return book


def _best(points: np.ndarray, mass: np.ndarray, count: int) -> np.ndarray:
    """The exact centres of ascending ``points`` of some ``mass``."""
    kept = mass > 0
    points, mass = points[kept], mass[kept]
    size = len(points)
    if size <= count:
        return points
    sums = [np.concatenate([[0.0], np.cumsum(mass * points**power)]) for power in range(3)]
    begin, end = np.arange(size)[:, None], np.arange(1, size + 1)[None]
    m, mx, mxx = (each[end] - each[begin] for each in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(end > begin, np.maximum(mxx - mx * mx / m, 0), np.inf)
    # cost[i, j]: of points i to j as one cluster; best[j]: of the points up to j in k of them.
    best = cost[0]
    starts = np.zeros((count, size), np.int64)
    for k in range(1, count):
        total = np.concatenate([[np.inf], best[:-1]])[:, None] + cost
        starts[k] = total.argmin(axis=0)
        best = total[starts[k], np.arange(size)]
    centres, last = [], size - 1
    for k in reversed(range(count)):
        first = starts[k, last] if k else 0
        centres.append((sums[1][last + 1] - sums[1][first]) / (sums[0][last + 1] - sums[0][first]))
        last = first - 1
    return np.array(centres[::-1])
