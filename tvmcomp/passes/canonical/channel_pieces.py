"""How to arrange channels so that each part of a split lies in one piece.

Channels that came together stay together where they can: a part's channels are made of *runs* of
neighbours, and the runs of neighbouring parts are turned so that one run continues over the border
between them:

    parts 0 2 1 3 of the runs 0 1 | 2 3  ->  0 2 | 3 1, so that 2 3 is one piece
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tvmcomp.passes.canonical.channel_shuffle import Emit
from tvmcomp.passes.rewriter import shape_of
from tvmcomp.tvm_import import tvm

relax = tvm.relax

#: Runs in a part, at most: shorter ones cost as much as copying element by element.
_MOST_RUNS = 12


def parts_in_place(
    emit: Emit, data: Any, fields: Sequence[Any], order: np.ndarray, sizes: Sequence[int], name: str
) -> list[tuple[Any, np.ndarray]] | None:
    """The parts of a split along the channels, each a slice of one whole.

    Args:
        emit: binds an expression to a variable of a name.
        data: what is split, channels last; its channels lie in another order.
        fields: what ``data`` is the join of, or it alone.
        order: where each channel lies in ``data``.
        sizes: channels of the parts.
        name: a person's name for ``data``.

    Returns:
        Each part, and where each of its channels lies in it; None where that is not worth it.
    """
    ends = np.cumsum(sizes)
    wanted = [order[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    lengths = [shape_of(field)[-1] for field in fields]
    arrangement = arranged(wanted, lengths)
    if arrangement is None:
        return None
    channels = np.concatenate(arrangement)
    if not np.array_equal(channels, np.arange(len(channels))):
        pieces = [
            _slice(emit, fields[number], first, last, f"{name}_piece")
            for number, first, last in pieces_of(channels, lengths)
        ]
        data = emit(relax.op.concat(pieces, len(shape_of(data)) - 1), f"{name}_arranged")
    found, begin = [], 0
    for there, part in zip(arrangement, wanted, strict=True):
        place = {int(channel): i for i, channel in enumerate(there)}
        own = np.array([place[int(channel)] for channel in part])
        found.append((_slice(emit, data, begin, begin + len(there), f"{name}_part"), own))
        begin += len(there)
    return found


def _slice(emit: Emit, data: Any, first: int, last: int, name: str) -> Any:
    """The channels ``first`` to ``last`` of ``data``."""
    shape = shape_of(data)
    if (first, last) == (0, shape[-1]):
        return data
    return emit(relax.op.strided_slice(data, [len(shape) - 1], [first], [last]), name)


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
