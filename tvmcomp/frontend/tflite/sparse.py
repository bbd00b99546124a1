"""Sparse constants as dense ones, of the format of TensorFlow Lite's ``SparsityParameters``.

The format follows Kjolstad et al., "The Tensor Algebra Compiler" (OOPSLA 2017): the dimensions are
stored one inside the other in ``order``, each whole or as the indices that are there (compressed
rows); blocks are further dimensions, inside of all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Dimension:
    """A dimension that is stored whole, or one whose ``indices[segments[i]:segments[i + 1]]`` are
    stored for the i-th place of the dimensions outside of it."""

    size: int | None
    segments: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    indices: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def densify(
    values: np.ndarray,
    shape: Sequence[int],
    dimensions: Sequence[Dimension],
    order: Sequence[int],
    blocks: Sequence[int],
) -> np.ndarray:
    """The dense tensor of ``shape`` that ``values`` are stored of; it is 0 elsewhere.

    Args:
        values: the stored elements, in storage order.
        shape: of the tensor.
        dimensions: the tensor's, then the blocks', each in storage order.
        order: which dimension each stored one is; blocks count on from the rank.
        blocks: the dimension that each dimension of blocks divides.

    Raises:
        ValueError: they contradict each other.
    """
    rank = len(shape)
    if not rank:
        raise ValueError("a sparse tensor has no dimensions")
    whole = rank + len(blocks)
    if len(dimensions) != whole or sorted(order) != list(range(whole)):
        raise ValueError("a sparse tensor's dimensions are not those of its shape")
    if len(set(blocks)) != len(blocks) or any(not 0 <= axis < rank for axis in blocks):
        raise ValueError("a sparse tensor's blocks divide no dimension of it")
    most = max(values.size, *(dimension.segments.size for dimension in dimensions))
    # The places of all elements, outermost dimension first, one column a dimension.
    places = np.zeros((1, 0), np.int64)
    for dimension in dimensions:
        if dimension.size is not None:
            if not dimension.size >= 0 or len(places) * dimension.size > most:
                raise ValueError("a sparse tensor stores fewer elements than its dimensions say")
            inner = np.tile(np.arange(dimension.size), len(places))
            counts = np.full(len(places), dimension.size)
        else:
            counts = np.diff(dimension.segments)
            inner = dimension.indices
            right = len(counts) == len(places) and (counts >= 0).all()
            if not right or counts.sum() != inner.size or inner.size > values.size:
                raise ValueError("a sparse tensor's segments and indices disagree")
        places = np.column_stack([np.repeat(places, counts, axis=0), inner])
    if len(places) != values.size:
        raise ValueError(f"a sparse tensor stores {values.size} elements of {len(places)}")
    index = np.empty_like(places)
    index[:, list(order)] = places
    sizes = [0] * whole
    for axis, dimension in zip(order, dimensions, strict=True):
        largest = int(dimension.indices.max()) + 1 if dimension.indices.size else 0
        sizes[axis] = dimension.size if dimension.size is not None else largest
    for number, axis in enumerate(blocks):
        index[:, axis] = index[:, axis] * sizes[rank + number] + index[:, rank + number]
    index = index[:, :rank]
    if (index < 0).any() or (index >= np.array(shape)).any():
        raise ValueError("a sparse tensor has elements outside of its shape")
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[np.ravel_multi_index(tuple(index.T), tuple(shape))] = values
    return dense.reshape(shape)
