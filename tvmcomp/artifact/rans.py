"""The entropy coder whose decoder is ``cruntime/rans.c``: see there for what a state is.

Coding goes from the last byte to the first, one after the other; so that numpy has something to do
at each step, all blocks of bytes that are given at once are coded side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

#: Frequencies of the 256 values sum to this.
TOTAL = 4096
#: Bytes that are coded on their own, from states of their own.
BLOCK = 1 << 16
#: Bytes that a block takes beside the bits of what is in it.
BLOCK_OVERHEAD = 16

_LANES = 4
_LEAST = 1 << 16
#: Blocks that are coded at once: their steps take some 100 MB.
_AT_ONCE = 256


class Block(NamedTuple):
    """Up to :data:`BLOCK` bytes, and the frequencies that they are coded by."""

    content: np.ndarray
    frequencies: np.ndarray


def frequencies(counts: np.ndarray) -> np.ndarray:
    """How many of :data:`TOTAL` each value has, at least one where it is at all; int64 [256].

    Args:
        counts: how often each of the 256 values is there; one is.
    """
    counts = counts.astype(np.float64)
    found = np.where(counts > 0, np.maximum(np.rint(counts * (TOTAL / counts.sum())), 1), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        while (excess := int(found.sum()) - TOTAL) != 0:
            if excess > 0:  # take from where it costs the fewest bits
                costs = np.where(found > 1, counts * np.log2(found / (found - 1)), np.inf)
                found[np.argmin(costs)] -= 1
            else:
                gains = np.where(found > 0, counts * np.log2((found + 1) / found), -1)
                found[np.argmax(gains)] += 1
    return found.astype(np.int64)


def bits(freqs: np.ndarray) -> np.ndarray:
    """What each value costs, infinity where it can't be coded."""
    with np.errstate(divide="ignore"):
        return np.log2(TOTAL) - np.log2(freqs)


def table_bytes(freqs: np.ndarray) -> bytes:
    """Frequencies as ``tvmcomp_rans_table`` reads them."""
    made, value = bytearray(), 0
    while value < len(freqs):
        frequency = int(freqs[value])
        value += 1
        if frequency >= 128:
            made += bytes([128 | frequency >> 8, frequency & 255])
        elif frequency:
            made.append(frequency)
        else:
            more = 0
            while value < len(freqs) and freqs[value] == 0:
                more, value = more + 1, value + 1
            made += bytes([0, more])
    return bytes(made)


def encoded(blocks: Sequence[Block]) -> Iterator[bytes]:
    """Each block as ``tvmcomp_rans_decode`` reads it."""
    for first in range(0, len(blocks), _AT_ONCE):
        yield from _side_by_side(blocks[first : first + _AT_ONCE])


def _side_by_side(blocks: Sequence[Block]) -> Iterator[bytes]:
    """Lane ``i`` of a block has its bytes ``i``, ``i + 4``, …; one column of the arrays below."""
    lanes = _LANES * len(blocks)
    lengths = np.array([-(-(len(b.content) - i) // _LANES) for b in blocks for i in range(_LANES)])
    # Longest first: those that have a byte at a step are then the first.
    order = np.argsort(-lengths, kind="stable")
    steps = int(lengths.max())
    values = np.zeros((steps, lanes), np.uint8)
    for number, block in enumerate(blocks):
        padded = np.zeros((-(-len(block.content) // _LANES), _LANES), np.uint8)
        padded.reshape(-1)[: len(block.content)] = block.content
        values[: len(padded), _LANES * number : _LANES * (number + 1)] = padded
    values = values[:, order]
    active = np.searchsorted(-lengths[order], -np.arange(steps), side="left")
    freqs = np.array([block.frequencies for block in blocks], np.uint64)
    starts = np.cumsum(freqs, axis=1, dtype=np.uint64) - freqs
    rows = (order // _LANES) * freqs.shape[1]
    words = np.zeros((steps, lanes), np.uint16)
    written = np.zeros((steps, lanes), bool)
    states = np.full(lanes, _LEAST, np.uint64)
    shift, word, total = np.uint64(16), np.uint64(0xFFFF), np.uint64(TOTAL)
    fullest = np.uint64((_LEAST << 16) // TOTAL)  # a state that the next byte would make too large
    for step in range(steps - 1, -1, -1):
        now = active[step]
        x = states[:now]
        at = rows[:now] + values[step, :now]
        frequency = freqs.reshape(-1)[at]
        out = x >= frequency * fullest
        words[step, :now] = x & word
        written[step, :now] = out
        x = np.where(out, x >> shift, x)
        quotient, rest = np.divmod(x, frequency)
        states[:now] = quotient * total + rest + starts.reshape(-1)[at]
    back = np.argsort(order)
    words, written = words[:, back], written[:, back]
    finished = states[back].astype("<u4").reshape(-1, _LANES)
    for number, state in enumerate(finished):
        columns = slice(_LANES * number, _LANES * (number + 1))
        yield state.tobytes() + words[:, columns][written[:, columns]].astype("<u2").tobytes()
