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
    """Of the rows ``x`` that meet the columns of a weight, over samples.

    Attributes:
        mean: of ``x``: float64 [K].
        square: of ``x x^T``, about the mean if the operator has a bias that takes it up: [K, K].
    """

    mean: np.ndarray
    square: np.ndarray

    @classmethod
    def white(cls, columns: int) -> Moments:
        """As if nothing were known of the inputs: of the weights themselves."""
        return cls(np.zeros(columns), np.eye(columns))


def gather(weight: Weight, node: Node, data: Iterable[Tensor]) -> Moments:
    """The moments, about the mean, of what ``node`` multiplies by ``weight``, which has no groups.

    Args:
        weight: the weight.
        node: its operator.
        data: what it reads, in portions, with an axis of samples in front.
    """
    portions = list(data)
    count = max(1, rows_wanted(weight) // len(portions))
    columns = weight.matrices(np.empty(weight.shape, np.bool_)).shape[-1]
    total, squares, rows = torch.zeros(columns), torch.zeros(columns, columns), 0
    for seed, portion in enumerate(portions):
        (x,) = rows_of(weight, node, portion, count, seed)
        total += x.sum(0)
        squares += x.mT @ x
        rows += len(x)
    mean = (total / rows).double().numpy()
    square = (squares / rows).double().numpy() - np.outer(mean, mean)
    return Moments(mean, square)
