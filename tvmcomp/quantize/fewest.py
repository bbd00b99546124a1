"""The fewest of some ranked operators that reach a goal together."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def fewest(ranked: Sequence[str], reaches: Callable[[set[str]], bool]) -> set[str] | None:
    """The first few of ``ranked`` that reach the goal, found by doubling and halving; None where
    all of them don't.

    Args:
        ranked: what helps most comes first.
        reaches: measures whether some of them, at least one, are enough.
    """
    low, high = 0, 1
    while not reaches(set(ranked[:high])):
        if high >= len(ranked):
            return None
        low, high = high, min(2 * high, len(ranked))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(set(ranked[:middle])) else (middle, high)
    return set(ranked[:high])


def most_measurements(count: int) -> int:
    """How often :func:`fewest` measures at most, of so many."""
    return 2 * (count - 1).bit_length() + 1
