"""What a weight is multiplied by: rows of inputs, and their second moments.

GPTQ asks for the mean of ``x x^T`` over the rows ``x`` that meet a weight's columns; those of a
convolution are its windows. Of very many rows some are drawn: windows that overlap are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch

from tvmcomp.compress.fake_quantize import weights as roles
from tvmcomp.compress.fake_quantize.weights import Weight
from tvmcomp.compress.operators.table import Node, Tensor
from tvmcomp.compress.operators.windows import padded, window_pads

#: Rows for each column of the weight, and at least: more change a mean of squares very little.
_ROWS_A_COLUMN, _FEWEST_ROWS = 32, 2048


def rows_wanted(weight: Weight) -> int:
    """How many rows suffice for the moments of a weight's inputs."""
    columns = math.prod(weight.shape) // max(weight.scales, 1)
    return max(_FEWEST_ROWS, _ROWS_A_COLUMN * columns)


def rows_of(weight: Weight, node: Node, data: Tensor, count: int, seed: int) -> Tensor:
    """Rows that ``node`` multiplies by the weight's columns: ``[G, rows, K]``.

    Args:
        weight: the weight.
        node: its operator.
        data: what it reads, with an axis of samples in front; of a state's weight, the states that
            the layer gives.
        count: the most rows to draw.
        seed: of which are drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    if weight.role == roles.STATE:  # [samples, steps, directions, batch, units]
        axis = 3 if node.get("layout", 0) else 2
        states = data.movedim(axis, 0).reshape(weight.groups, -1, data.shape[-1])
        return states[:, _drawn(states.shape[1], count, generator)]
    if weight.role not in (roles.CONVOLUTION, roles.TRANSPOSED):
        flat = data.reshape(-1, data.shape[-1])
        return flat[_drawn(len(flat), count, generator)][None]
    images = data.reshape(-1, *data.shape[2:])
    kernel = list(weight.shape[2:])
    dims = len(kernel)
    strides, dilations = node.get("strides", [1] * dims), node.get("dilations", [1] * dims)
    if weight.role == roles.CONVOLUTION:
        before, after = window_pads(node, images.shape[2:], kernel, strides, dilations)
        images = padded(images, before, after, 0.0)
    else:  # The windows of the image with zeros between its pixels, read backwards.
        images = _spread(images, strides)
        reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        images, strides = padded(images, reach, reach, 0.0), [1] * dims
    places = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip(images.shape[2:], kernel, dilations, strides, strict=True)
    ]
    share = max(1, count // len(images))
    chosen = _drawn(math.prod(places), share, generator).numpy()
    taps = np.stack(np.unravel_index(np.arange(math.prod(kernel)), kernel))
    if weight.role == roles.TRANSPOSED:
        taps = np.array(kernel)[:, None] - 1 - taps
    starts = np.stack(np.unravel_index(chosen, places))
    spots = starts[:, :, None] * np.array(strides)[:, None, None]
    spots = spots + taps[:, None, :] * np.array(dilations)[:, None, None]
    index = np.ravel_multi_index(tuple(spots), tuple(images.shape[2:]))  # [places, taps]
    read = images.flatten(2).index_select(2, torch.from_numpy(index.reshape(-1)))
    rows = read.reshape(len(images), weight.groups, -1, len(chosen), taps.shape[1])
    rows = rows.permute(1, 0, 3, 2, 4)
    return rows.reshape(weight.groups, len(images) * len(chosen), -1)


def mean_square(weight: Weight, node: Node, data: Iterable[Tensor]) -> np.ndarray:
    """The mean of ``x x^T`` over rows ``x`` that meet the weight's columns: float64 ``[G, K, K]``.

    Args:
        weight: the weight.
        node: its operator.
        data: what it reads, in portions, with an axis of samples in front.
    """
    portions = list(data)
    count = max(1, rows_wanted(weight) // len(portions))
    squares, rows = [], 0
    for seed, portion in enumerate(portions):
        x = rows_of(weight, node, portion, count, seed)
        squares.append(x.mT @ x)
        rows += x.shape[1]
    return np.asarray((torch.stack(squares).sum(0) / rows).double())


def _drawn(total: int, count: int, generator: torch.Generator) -> Tensor:
    if total <= count:
        return torch.arange(total)
    return torch.randperm(total, generator=generator)[:count].sort().values


def _spread(images: Tensor, strides: Iterable[int]) -> Tensor:
    """``images`` with ``stride - 1`` zeros between neighbours, along each spatial axis."""
    sizes = [
        (size - 1) * stride + 1 for size, stride in zip(images.shape[2:], strides, strict=True)
    ]
    wide = images.new_zeros(*images.shape[:2], *sizes)
    places = [slice(None, None, stride) for stride in strides]
    wide[tuple([slice(None)] * 2 + places)] = images
    return wide
