"""Convolution and matrix product over packed weights, in TE, NHWC.

Blocks are named for the schedules: ``conv`` (the accumulation, marked with the anchor attribute),
``crop`` where the packed channels exceed the real ones, then ``merge`` where groups become
channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from tvmcomp.schedules.anchor import ANCHOR, MACS, Anchor, Widths, element
from tvmcomp.schedules.bfloat16 import widen
from tvmcomp.schedules.blocking import register_blocks
from tvmcomp.schedules.conv.taps import input_index, window_taps
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Tensor

te = tvm.te

#: Value of :data:`~tvmcomp.schedules.anchor.ANCHOR` on the accumulation.
DIRECT_CONV = "direct_conv"
#: The same, where a register of accumulators holds several pixels.
PIXEL_PAIRS = "pixel_pairs"
#: The same, where each task widens its part of the data first.
STAGED_CONV = "staged_conv"


def pack_conv_weight(weight: np.ndarray, groups: int, kernel: DotKernel) -> np.ndarray:
    """Pack ``[O, *K, I/groups]`` into ``[groups, O'/lanes, *K, I'/depth, lanes, depth]``.

    Output channels of a group are padded with zeros to whole vectors, as many as the kernel says,
    input channels to a multiple of ``depth``.
    """
    out_channels, *window, in_channels = weight.shape
    per_group = out_channels // groups
    outer = kernel.vectors(per_group)
    inner = -(-in_channels // kernel.depth)
    padded = np.zeros(
        (groups, outer * kernel.lanes, *window, inner * kernel.depth), dtype=weight.dtype
    )
    padded[:, :per_group, ..., :in_channels] = weight.reshape(
        groups, per_group, *window, in_channels
    )
    split = padded.reshape(groups, outer, kernel.lanes, *window, inner, kernel.depth)
    # [g, oo, lanes, *K, ii, depth] -> [g, oo, *K, ii, lanes, depth]
    spatial_axes = tuple(range(3, 3 + len(window)))
    last = 3 + len(window)
    return np.ascontiguousarray(split.transpose(0, 1, *spatial_axes, last, 2, last + 1))


def conv_padding(anchor: Anchor, kernel: DotKernel, target: TargetDescription) -> Widths:
    """What :func:`direct_conv` needs around its data: the window's own padding, and what its whole
    blocks of pixels and of input channels read beyond that.
    """
    window = anchor.window
    whole_width = _whole_width(anchor, kernel, target)
    width = anchor.output[-1]
    before, after = window.padding[-1]
    spatial = (*window.padding[:-1], (before, after + (whole_width - width) * window.strides[-1]))
    # What a group reads beyond its own channels is the next group's, times weights of zero; behind
    # the last group there must be something to read.
    group_in = anchor.group_channels
    packed_in = -(-group_in // kernel.depth) * kernel.depth
    return (*((0, 0),) * len(anchor.lead), *spatial, (0, packed_in - group_in))


def _whole_width(anchor: Anchor, kernel: DotKernel, target: TargetDescription) -> int:
    """Pixels in the whole blocks that hold a row of the output."""
    window, width = anchor.window, anchor.output[-1]
    vectors = kernel.vectors(anchor.out_channels // window.groups)
    steps = math.prod(window.kernel) * -(-anchor.group_channels // kernel.depth)
    pixels, _ = register_blocks(width, vectors, target, kernel, steps)[0]
    return -(-width // pixels) * pixels


def direct_conv(
    data: Tensor, weight: Tensor, anchor: Anchor, kernel: DotKernel, target: TargetDescription
) -> Tensor:
    """Convolution of ``data [*lead, *S, C]`` with a weight from :func:`pack_conv_weight`.

    A row of the output is computed up to a whole number of accumulator blocks, and what exceeds it
    is cropped: the kernel's loops have no conditions in them.

    Args:
        data: with the border of :func:`conv_padding` around it.
        weight: from :func:`pack_conv_weight`.
        anchor: the convolution.
        kernel: the dot product.
        target: the device.

    Returns:
        A TE tensor ``[*lead, *S', out_channels]`` of dtype ``kernel.acc``.
    """
    window, lead, out_channels = anchor.window, anchor.lead, anchor.out_channels
    groups, group_in, out_spatial = window.groups, anchor.group_channels, anchor.output
    inner = int(weight.shape[2 + len(window.kernel)])
    packed_out = int(weight.shape[1]) * kernel.lanes
    group_out = out_channels // groups
    whole_width = _whole_width(anchor, kernel, target)
    data = staged(data, kernel)
    taps = window_taps(window)
    reduce_outer = te.reduce_axis((0, inner), name="ico")
    reduce_inner = te.reduce_axis((0, kernel.depth), name="ici")

    def product(outer: Sequence[Any], group: Any, at: Sequence[PrimExpr], o: PrimExpr) -> Any:
        channel = group * group_in + reduce_outer * kernel.depth + reduce_inner
        left = element(data, *outer, *input_index(window, at, taps), channel)
        right = element(
            weight, group, o // kernel.lanes, *taps, reduce_outer, o % kernel.lanes, reduce_inner
        )
        return te.sum(
            widen(left, kernel.data, kernel.acc) * widen(right, kernel.weight, kernel.acc),
            axis=[*taps, reduce_outer, reduce_inner],
        )

    whole = (*out_spatial[:-1], whole_width)
    macs = prod((*lead, *out_spatial, out_channels, *window.kernel, group_in))
    n = len(lead)
    if groups == 1:
        conv = accumulators(
            (*lead, *whole, packed_out),
            lambda *i: product(i[:n], 0, i[n:-1], i[-1]),
            kernel,
            macs,
        )
        if packed_out == out_channels and whole == out_spatial and kernel.pixels == 1:
            return conv
        cropped = (*lead, *out_spatial, out_channels)
        return te.compute(cropped, lambda *i: element(conv, *in_tile(i, kernel)), name="crop")
    grouped = accumulators(
        (*lead, groups, *whole, packed_out),
        lambda *i: product(i[:n], i[n], i[n + 1 : -1], i[-1]),
        kernel,
        macs,
    )
    if packed_out != group_out or kernel.pixels > 1:
        # A block of accumulators ends beyond its group: fused with the merge of the groups below,
        # it would write into the next one, which another thread computes.
        cropped = (*lead, groups, *out_spatial, group_out)
        whole_groups = te.compute(
            cropped, lambda *i: element(grouped, *in_tile(i, kernel)), name="crop"
        )
    else:
        whole_groups = grouped
    return te.compute(
        (*lead, *out_spatial, out_channels),
        lambda *i: element(whole_groups, *i[:n], i[-1] // group_out, *i[n:-1], i[-1] % group_out),
        name="merge",
    )


def staged(data: Any, kernel: DotKernel) -> Any:
    """``data`` as ``kernel`` multiplies them, widened where it asks for that."""
    if kernel.staged is None:
        return data
    dtype = kernel.staged
    return te.compute(data.shape, lambda *i: element(data, *i).astype(dtype), name="staged")


def accumulators(
    shape: Sequence[int], value: Callable[..., Any], kernel: DotKernel, macs: int
) -> Any:
    """The block ``conv`` over ``shape [*, width, channels]``.

    Where a register of accumulators holds several pixels, its elements are the innermost two
    dimensions of the result: ``[*, width / pixels, channels / lanes, pixels, lanes]``.
    """
    if kernel.pixels == 1:
        kind = DIRECT_CONV if kernel.staged is None else STAGED_CONV
        return te.compute(shape, value, name="conv", attrs={ANCHOR: kind, MACS: macs})
    *outer, width, channels = shape
    pixels, lanes = kernel.pixels, kernel.lanes

    def in_register(*i: PrimExpr) -> Any:
        *at, w, c, pixel, lane = i
        return value(*at, w * pixels + pixel, c * lanes + lane)

    tiles = (*outer, width // pixels, channels // lanes, pixels, lanes)
    attrs = {ANCHOR: PIXEL_PAIRS, MACS: macs}
    return te.compute(tiles, in_register, name="conv", attrs=attrs)


def in_tile(index: Sequence[PrimExpr], kernel: DotKernel) -> Sequence[Any]:
    """Where the element ``index [*, width, channel]`` is in the result of :func:`accumulators`."""
    if kernel.pixels == 1:
        return index
    *at, w, c = index
    pixels, lanes = kernel.pixels, kernel.lanes
    return (*at, w // pixels, c // lanes, w % pixels, c % lanes)
