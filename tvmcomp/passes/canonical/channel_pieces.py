"""How to arrange channels so that each part of a split lies in one piece.

Channels that came together stay together where they can: a part's channels are made of *runs* of
neighbours, and the runs of neighbouring parts are turned so that one run continues over the border
between them:

    parts 0 2 1 3 of the runs 0 1 | 2 3  ->  0 2 | 3 1, so that 2 3 is one piece
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

#: Runs in a part, at most: shorter ones cost as much as copying element by element.
_MOST_RUNS = 12


def arranged(wanted: Sequence[np.ndarray], sizes: Sequence[int]) -> list[np.ndarray] | None:
    """The channels of each part in the order in which they are to lie; None where that is not
    worth it.

    Args:
        wanted: the channels that each part holds, in whatever order.
        sizes: of the tensors that the channels lie in one after the other: the last of them that
            runs over a border is kept in one piece.
    """
    borders = set(np.cumsum(sizes).tolist())
    parts = [_runs(np.sort(channels), borders) for channels in wanted]
    if any(len(runs) > _MOST_RUNS for runs in parts):
        return None
    for before, after in pairwise(parts):
        pairs = [(a, b) for a in before for b in after if a[1] == b[0] and a[1] not in borders]
        if pairs:
            last, first = max(pairs)
            before.sort(key=lambda run: run == last)
            after.sort(key=lambda run: run != first)
    return [np.concatenate([np.arange(*run) for run in runs]) for runs in parts]


def pieces_of(channels: np.ndarray, sizes: Sequence[int]) -> list[tuple[int, int, int]]:
    """``channels`` as pieces of tensors of ``sizes`` channels: (tensor, first, last + 1)."""
    ends = np.cumsum(sizes)
    pieces: list[tuple[int, int, int]] = []
    for channel in channels.tolist():
        number = int(np.searchsorted(ends, channel, side="right"))
        at = channel - int(ends[number] - sizes[number])
        if pieces and pieces[-1][0] == number and pieces[-1][2] == at:
            pieces[-1] = (number, pieces[-1][1], at + 1)
        else:
            pieces.append((number, at, at + 1))
    return pieces


def _runs(channels: np.ndarray, borders: set[int]) -> list[tuple[int, int]]:
    """The runs of neighbours in ``channels``, in order: (first, last + 1); none crosses a border
    between tensors."""
    runs: list[tuple[int, int]] = []
    for channel in channels.tolist():
        if runs and runs[-1][1] == channel and channel not in borders:
            runs[-1] = (runs[-1][0], channel + 1)
        else:
            runs.append((channel, channel + 1))
    return runs
