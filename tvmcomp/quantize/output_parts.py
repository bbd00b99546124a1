"""The quantities that an output is joined of, which are judged one by one.

A detector gives boxes in pixels and scores between 0 and 1 in one tensor. Noise that is nothing
beside the boxes may be more than all scores, so their ratio on the whole says nothing of these.

1. What a concatenation at an output's end puts side by side are parts.
2. So are the parts of those, and of what is moved (transposed, reshaped) as a whole at the end.
3. Everything else is one part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

#: Where a part lies in a tensor: a slice for each axis.
Part: TypeAlias = tuple[slice, ...]

_ALL = slice(None)
#: More parts than this are judged as a whole.
_MOST_PARTS = 32


@dataclass(frozen=True)
class Joined(Generic[T]):
    """A concatenation of ``parts``, tensors of ``sizes`` along ``axis`` (from 0)."""

    axis: int
    parts: Sequence[T]
    sizes: Sequence[int]


@dataclass(frozen=True)
class Transposed(Generic[T]):
    """``source`` with its axes in the order ``axes``."""

    source: T
    axes: Sequence[int]


@dataclass(frozen=True)
class Reshaped(Generic[T]):
    """``source`` of the shape ``before`` in the shape ``after``."""

    source: T
    before: Sequence[int]
    after: Sequence[int]


Step: TypeAlias = Joined[T] | Transposed[T] | Reshaped[T] | None


def output_parts(output: T, rank: int, made_by: Callable[[T], Step[T]]) -> list[Part]:
    """The parts of an output of ``rank`` axes.

    Args:
        output: the tensor.
        rank: how many axes it has.
        made_by: what the last step is that made a tensor; None for any other than these.
    """
    whole: Part = (_ALL,) * rank
    found = _parts(output, rank, made_by)
    return found if len(found) <= _MOST_PARTS else [whole]


def _parts(tensor: T, rank: int, made_by: Callable[[T], Step[T]]) -> list[Part]:
    step = made_by(tensor)
    if isinstance(step, Joined):
        found, start = [], 0
        for source, size in zip(step.parts, step.sizes, strict=True):
            if size:
                inner = _parts(source, rank, made_by)
                found += [_moved(part, step.axis, start, size) for part in inner]
            start += size
        return found
    if isinstance(step, Transposed):
        inner = _parts(step.source, len(step.axes), made_by)
        return [tuple(part[axis] for axis in step.axes) for part in inner]
    if isinstance(step, Reshaped):
        inner = _parts(step.source, len(step.before), made_by)
        places = {axis: _place(step, axis) for axis in range(len(step.before))}
        if all(places[i] is not None for part in inner for i, s in enumerate(part) if s != _ALL):
            return [_reshaped(part, places, rank) for part in inner]
    return [(_ALL,) * rank]


def _moved(part: Part, axis: int, start: int, size: int) -> Part:
    """``part`` of a tensor of ``size``, which lies at ``start`` of ``axis`` in a larger one."""
    own = part[axis]
    first, last = (0, size) if own == _ALL else (own.start, own.stop)
    return (*part[:axis], slice(start + first, start + last), *part[axis + 1 :])


def _place(step: Reshaped[T], axis: int) -> int | None:
    """Which axis of the result is ``axis`` of the source, unchanged."""
    before = math.prod(step.before[:axis])
    for place, size in enumerate(step.after):
        if size == step.before[axis] and math.prod(step.after[:place]) == before:
            return place
    return None


def _reshaped(part: Part, places: dict[int, int | None], rank: int) -> Part:
    found = [_ALL] * rank
    for axis, own in enumerate(part):
        place = places[axis]
        if own != _ALL and place is not None:
            found[place] = own
    return tuple(found)
