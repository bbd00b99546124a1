"""First and second moments of what a weight multiplies, gathered as the network runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from tvmcomp.compress.fake_quantize.rows import rows_of, rows_wanted
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.operators.table import Node, Tensor


@dataclass(frozen=True)
class Moments:
    """Of the rows ``x`` that meet the columns of a weight, over samples; G groups of K columns.

    Attributes:
        mean: of ``x``: float64 [G, K].
        square: of ``x x^T``, about the mean if the operator has a bias that takes it up: float64
            [G, K, K].
    """

    mean: np.ndarray
    square: np.ndarray

    @classmethod
    def white(cls, groups: int, columns: int) -> Moments:
        """As if nothing were known of the inputs."""
        square = np.broadcast_to(np.eye(columns), (groups, columns, columns))
        return cls(np.zeros((groups, columns)), square)

    def about_zero(self) -> Moments:
        """The moments, which are about the mean, as they count where no bias takes that up."""
        return Moments(self.mean, self.square + self.mean[:, :, None] * self.mean[:, None, :])


def gather(weight: Weight, node: Node, data: Iterable[Tensor]) -> Moments:
    """The moments, about the mean, of what ``node`` multiplies by ``weight``.

    Args:
        weight: the weight.
        node: its operator.
        data: what it reads, in portions, with an axis of samples in front; of a layer's weight of
            states, the states.
    """
    portions = list(data)
    count = max(1, rows_wanted(weight) // len(portions))
    totals, squares, rows = [], [], 0
    origin: Tensor | None = None
    for seed, portion in enumerate(portions):
        x = rows_of(weight, node, portion, count, seed)
        origin = x[:, :1] if origin is None else origin
        totals.append((x - origin).sum(1))
        squares.append((x - origin).mT @ (x - origin))
        rows += x.shape[1]
    assert origin is not None  # there are samples
    mean = (torch.stack(totals).sum(0) / rows).double().numpy()
    square = (torch.stack(squares).sum(0) / rows).double().numpy()
    return Moments(origin[:, 0].double().numpy() + mean, centred(square, mean))


def centred(square: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The moments [G, K, K] about the mean [G, K], from those about an origin that is one of the
    rows: where all rows are alike nothing is left, not what rounding leaves of large numbers.
    """
    return square - mean[:, :, None] * mean[:, None, :]
