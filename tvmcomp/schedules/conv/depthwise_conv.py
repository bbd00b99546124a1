"""Depthwise convolution, in TE, NHWC."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.schedules.anchor import ANCHOR, Anchor, Widths, element
from tvmcomp.schedules.bfloat16 import widen
from tvmcomp.schedules.conv.taps import input_index, window_taps
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Tensor

te = tvm.te

#: Value of :data:`~tvmcomp.schedules.anchor.ANCHOR` on the accumulation.
DEPTHWISE_CONV = "depthwise_conv"


def depthwise_padding(anchor: Anchor) -> Widths:
    """What a depthwise convolution needs around its data."""
    return (*((0, 0),) * len(anchor.lead), *anchor.window.padding, (0, 0))


def pack_depthwise_weight(weight: np.ndarray) -> np.ndarray:
    """Pack ``[C, *K, 1]`` into ``[*K, C]``."""
    return np.ascontiguousarray(np.moveaxis(weight[..., 0], 0, -1))


def depthwise_conv(data: Tensor, weight: Tensor, anchor: Anchor, kernel: DotKernel) -> Tensor:
    """Depthwise convolution of ``data [*lead, *S, C]`` with a weight ``[*K, C]``.

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

    return te.compute(
        (*lead, *anchor.output, anchor.channels),
        tap,
        name="depthwise",
        attrs={ANCHOR: DEPTHWISE_CONV},
    )
