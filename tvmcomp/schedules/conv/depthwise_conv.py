"""Depthwise convolution, in TE, NHWC.

Of channels that fill no vector the last vector is computed whole, and cropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.schedules.anchor import ANCHOR, Anchor, Widths, element
from tvmcomp.schedules.bfloat16 import widen
from tvmcomp.schedules.conv.taps import input_index, window_taps
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Tensor

te = tvm.te

#: Value of :data:`~tvmcomp.schedules.anchor.ANCHOR` on the accumulation.
DEPTHWISE_CONV = "depthwise_conv"


def vector_lanes(channels: int, most: int, least: int = 1) -> int:
    """Channels in a vector: ``most`` (a power of two), or what so few channels need, and
    ``least``."""
    lanes = most
    while lanes // 2 >= max(channels, least):
        lanes //= 2
    return lanes


def depthwise_lanes(channels: int, target: TargetDescription) -> int:
    """Channels in a vector of a depthwise convolution."""
    return vector_lanes(channels, target.vector_bits // 32)


def depthwise_padding(anchor: Anchor, lanes: int) -> Widths:
    """What a depthwise convolution in vectors of ``lanes`` channels needs around its data.

    The last vector of a pixel reads what lies behind the pixel's channels: behind the last pixel
    there must be something to read.
    """
    around = *((0, 0),) * len(anchor.lead), *anchor.window.padding
    return (*around, (0, -anchor.channels % lanes))


def pack_depthwise_weight(weight: np.ndarray, lanes: int) -> np.ndarray:
    """Pack ``[C, *K, 1]`` into ``[*K, C']``, with zeros to whole vectors of ``lanes``."""
    packed = np.moveaxis(in_whole_vectors(weight, lanes)[..., 0], 0, -1)
    return np.ascontiguousarray(packed)


def in_whole_vectors(weight: np.ndarray, lanes: int) -> np.ndarray:
    """``weight [C, …]`` with zeros for the channels that fill the last vector."""
    return np.pad(weight, [(0, -len(weight) % lanes), *[(0, 0)] * (weight.ndim - 1)])


def depthwise_conv(data: Tensor, weight: Tensor, anchor: Anchor, kernel: DotKernel) -> Tensor:
    """Depthwise convolution of ``data [*lead, *S, C']`` with a weight ``[*K, C']``.

    Args:
        data: with the border of :func:`depthwise_padding` around it.
        weight: from :func:`pack_depthwise_weight`.
        anchor: the convolution.
        kernel: the numeric types.

    Returns:
        A TE tensor ``[*lead, *S', C]`` of dtype ``kernel.acc``.
    """
    window, lead = anchor.window, anchor.lead
    taps = window_taps(window)
    n = len(lead)

    def tap(*i: PrimExpr) -> Any:
        left = element(data, *i[:n], *input_index(window, i[n:-1], taps), i[-1])
        right = element(weight, *taps, i[-1])
        product = widen(left, kernel.data, kernel.acc) * widen(right, kernel.weight, kernel.acc)
        return te.sum(product, axis=taps)

    conv = te.compute(
        (*lead, *anchor.output, weight.shape[-1]),
        tap,
        name="depthwise",
        attrs={ANCHOR: DEPTHWISE_CONV},
    )
    return without_filling(conv, anchor)


def without_filling(conv: Tensor, anchor: Anchor) -> Tensor:
    """``conv [*lead, *S', C']`` without the channels that fill its last vector."""
    if int(conv.shape[-1]) == anchor.channels:
        return conv
    shape = (*anchor.lead, *anchor.output, anchor.channels)
    return te.compute(shape, lambda *i: element(conv, *i), name="crop")
