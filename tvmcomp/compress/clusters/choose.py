"""A weight's values taken from a code book, by what they do to the operator's results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tvmcomp.compress.clusters.code_book import code_book, nearest_index
from tvmcomp.compress.operators.cluster import LARGEST
from tvmcomp.dtypes import numpy_dtype
from tvmcomp.quantize.rounding.gptq import rounded_in_turn


@dataclass(frozen=True)
class Clustered:
    """A weight of few values.

    Attributes:
        values: float64 [G, O, K].
        book: float64, ascending; whole numbers where there is a scale.
        scale: float64 [G, O], each a bfloat16; None where the book holds the weights themselves.
    """

    values: np.ndarray
    book: np.ndarray
    scale: np.ndarray | None


def in_floats(matrices: np.ndarray, square: np.ndarray | None, count: int) -> Clustered:
    """``count`` values at most, of any size.

    Args:
        matrices: the weight, [G, O, K].
        square: moments of its inputs, [G, K, K]; None takes each weight for itself.
        count: at least 2.
    """
    ones = np.ones(matrices.shape[:2])
    book = code_book(matrices, _importance(matrices, ones, square), count)
    return Clustered(_assigned(matrices, ones, square, book), book, None)


def in_integers(
    matrices: np.ndarray,
    square: np.ndarray | None,
    count: int,
    shared: Callable[[np.ndarray], np.ndarray],
) -> Clustered:
    """``count`` integers of 8 bits at most, times a scale an output.

    Rows are brought to one size by their largest value or by their mean square, whichever lets one
    book serve them better.

    Args:
        matrices, square, count: as of :func:`in_floats`.
        shared: makes of scales [G, O] those that can be stored, as [G, O].
    """
    largest = np.abs(matrices).max(axis=-1)
    size = np.sqrt(np.square(matrices).mean(axis=-1))
    peak = np.max(largest / np.where(size > 0, size, 1), initial=0)
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for wanted in (largest / LARGEST, size * peak / LARGEST):
        scale = _stored(shared(np.where(wanted > 0, wanted, 1)))
        importance = _importance(matrices, scale, square)
        normal = matrices / scale[..., None]
        book = np.unique(np.clip(np.rint(code_book(normal, importance, count)), -LARGEST, LARGEST))
        error = normal - book[nearest_index(normal, book)]
        loss = float(np.sum(importance * np.square(error)))
        if best is None or loss < best[0]:
            best = loss, scale, book
    assert best is not None
    _, scale, book = best
    return Clustered(_assigned(matrices, scale, square, book), book, scale)


def _assigned(
    matrices: np.ndarray, scale: np.ndarray, square: np.ndarray | None, book: np.ndarray
) -> np.ndarray:
    steps = scale[..., None]

    def nearest(wanted: np.ndarray) -> np.ndarray:
        found: np.ndarray = book[nearest_index(wanted / steps, book)] * steps
        return found

    keeps_zeros = 0 in book

    def rounded(wanted: np.ndarray, own: np.ndarray) -> np.ndarray:
        return np.where(own == 0, 0, nearest(wanted)) if keeps_zeros else nearest(wanted)

    plain = nearest(matrices)
    return plain if square is None else rounded_in_turn(matrices, square, rounded, plain)


def _importance(matrices: np.ndarray, scale: np.ndarray, square: np.ndarray | None) -> np.ndarray:
    """What a squared error of each weight, in units of its scale, does to the results."""
    inputs = np.ones(matrices.shape[-1:])
    if square is not None:
        inputs = np.maximum(np.diagonal(square, axis1=-2, axis2=-1), 0)[:, None, :]
    return np.broadcast_to(np.square(scale)[..., None] * inputs, matrices.shape)


def _stored(scale: np.ndarray) -> np.ndarray:
    """Each the next larger bfloat16, so that no weight is beyond the integers."""
    near = scale.astype(numpy_dtype("bfloat16")).astype(np.float64)
    return np.where(near < scale, near * (1 + 2**-7), near)
