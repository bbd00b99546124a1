"""What the anchors compute, in TE: convolution and matrix product over packed weights, NHWC.

One definition serves any number of spatial dimensions: a matrix product ``[..., M, K] x [K, N]`` is
a convolution whose leading dimensions are spatial and whose window is one element.

Blocks are named for the schedules: ``pad`` (where a padded copy is needed), ``conv`` or
``depthwise`` (the accumulation, marked with the anchor attribute), ``crop`` where the packed
channels exceed the real ones, then ``merge`` where groups become channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvmcomp.schedules.blocking import register_blocks
from tvmcomp.schedules.dot import DotKernel
from tvmcomp.schedules.registry import widen
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

te = tvm.te
tirx = tvm.tirx

#: Block attribute that tells :mod:`tvmcomp.schedules` which schedule an anchor takes.
ANCHOR = "tvmcomp.anchor"


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution over ``len(kernel)`` spatial dimensions.

    ``padding`` holds (before, after) a dimension; ``pad_value`` is what the padding reads as: the
    zero point of a quantized input.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    groups: int = 1
    pad_value: int = 0

    def output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Spatial sizes of the output for an input of sizes ``spatial``."""
        return tuple(
            (size + before + after - (dil * (k - 1) + 1)) // stride + 1
            for size, k, stride, dil, (before, after) in zip(
                spatial, self.kernel, self.strides, self.dilation, self.padding, strict=True
            )
        )


def pack_conv_weight(weight: np.ndarray, groups: int, kernel: DotKernel) -> np.ndarray:
    """Pack ``[O, *K, I/groups]`` into ``[groups, O'/lanes, *K, I'/depth, lanes, depth]``.

    Output channels of a group are padded with zeros to a multiple of ``lanes``, input channels to
    a multiple of ``depth``.
    """
    out_channels, *window, in_channels = weight.shape
    per_group = out_channels // groups
    outer = -(-per_group // kernel.lanes)
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


def _pad(data: Any, window: Window, channels: int, extra_width: int = 0) -> Any:
    """``data`` with its spatial padding, and its channels padded to ``channels``.

    ``extra_width`` more elements follow in the last spatial dimension.
    """
    lead, spatial, depth = _split_shape(data, window)
    padding = [*window.padding[:-1], (window.padding[-1][0], window.padding[-1][1] + extra_width)]
    if not any(before or after for before, after in padding) and channels == depth:
        return data
    padded = [size + before + after for size, (before, after) in zip(spatial, padding, strict=True)]

    def value(*index: Any) -> Any:
        outer, at, channel = index[: len(lead)], index[len(lead) : -1], index[-1]
        source, inside = [], []
        for x, size, (before, after) in zip(at, spatial, padding, strict=True):
            source.append(x - before)
            if before:
                inside.append(x >= before)
            if after:
                inside.append(x < size + before)
        if channels != depth:
            inside.append(channel < depth)
        return tirx.if_then_else(
            tirx.all(*inside),
            element(data, *outer, *source, channel),
            tirx.const(window.pad_value, data.dtype),
        )

    return te.compute((*lead, *padded, channels), value, name="pad")


def _split_shape(data: Any, window: Window) -> tuple[list[int], list[int], int]:
    """The leading, spatial and channel dimensions of ``data [*lead, *spatial, channels]``."""
    shape = [int(dim) for dim in data.shape]
    rank = len(window.kernel)
    return shape[: -rank - 1], shape[-rank - 1 : -1], shape[-1]


def element(tensor: Any, *index: Any) -> Any:
    """The element of a TE tensor at ``index``."""
    return tensor[index]


def _taps(window: Window) -> list[Any]:
    return [te.reduce_axis((0, size), name=f"k{d}") for d, size in enumerate(window.kernel)]


def _at(window: Window, out_index: Sequence[Any], taps: Sequence[Any]) -> list[Any]:
    return [
        x * stride + tap * dil
        for x, stride, tap, dil in zip(
            out_index, window.strides, taps, window.dilation, strict=True
        )
    ]


def direct_conv(
    data: Any,
    weight: Any,
    window: Window,
    out_channels: int,
    kernel: DotKernel,
    target: TargetDescription,
) -> Any:
    """Convolution of ``data [*lead, *S, C]`` with a weight from :func:`pack_conv_weight`.

    A row of the output is computed up to a whole number of accumulator blocks, and what exceeds it
    is cropped: the kernel's loops have no conditions in them.

    Returns:
        A TE tensor ``[*lead, *S', out_channels]`` of dtype ``kernel.acc``.
    """
    lead, spatial, channels = _split_shape(data, window)
    groups = window.groups
    rank = len(spatial)
    inner = int(weight.shape[2 + rank])
    group_in = channels // groups
    packed_in = inner * kernel.depth
    packed_out = int(weight.shape[1]) * kernel.lanes
    group_out = out_channels // groups
    out_spatial = window.output(spatial)
    width = out_spatial[-1]
    pixels, _ = register_blocks(width, packed_out // kernel.lanes, target)[0]
    whole_width = -(-width // pixels) * pixels
    # Input that the last block reads beyond the row.
    extra = (whole_width - width) * window.strides[-1]
    # What a group reads beyond its own channels is the next group's, times weights of zero; behind
    # the last group there must be something to read.
    padded = _pad(data, window, (groups - 1) * group_in + packed_in, extra)
    taps = _taps(window)
    reduce_outer = te.reduce_axis((0, inner), name="ico")
    reduce_inner = te.reduce_axis((0, kernel.depth), name="ici")

    def product(outer: Sequence[Any], group: Any, at: Sequence[Any], o: Any) -> Any:
        channel = group * group_in + reduce_outer * kernel.depth + reduce_inner
        left = element(padded, *outer, *_at(window, at, taps), channel)
        right = element(
            weight, group, o // kernel.lanes, *taps, reduce_outer, o % kernel.lanes, reduce_inner
        )
        return te.sum(
            widen(left, kernel.data, kernel.acc) * widen(right, kernel.weight, kernel.acc),
            axis=[*taps, reduce_outer, reduce_inner],
        )

    attrs = {ANCHOR: "direct_conv"}
    whole = (*out_spatial[:-1], whole_width)
    n = len(lead)
    if groups == 1:
        conv = te.compute(
            (*lead, *whole, packed_out),
            lambda *i: product(i[:n], 0, i[n:-1], i[-1]),
            name="conv",
            attrs=attrs,
        )
        if packed_out == out_channels and whole == out_spatial:
            return conv
        return te.compute((*lead, *out_spatial, out_channels), lambda *i: conv[i], name="crop")
    grouped = te.compute(
        (*lead, groups, *whole, packed_out),
        lambda *i: product(i[:n], i[n], i[n + 1 : -1], i[-1]),
        name="conv",
        attrs=attrs,
    )
    if packed_out != group_out:
        # A block of accumulators ends beyond its group: fused with the merge of the groups below,
        # it would write into the next one, which another thread computes.
        cropped = (*lead, groups, *out_spatial, group_out)
        whole_groups = te.compute(cropped, lambda *i: grouped[i], name="crop")
    else:
        whole_groups = grouped
    return te.compute(
        (*lead, *out_spatial, out_channels),
        lambda *i: element(whole_groups, *i[:n], i[-1] // group_out, *i[n:-1], i[-1] % group_out),
        name="merge",
    )


def pack_depthwise_weight(weight: np.ndarray) -> np.ndarray:
    """Pack ``[C, *K, 1]`` into ``[*K, C]``."""
    return np.ascontiguousarray(np.moveaxis(weight[..., 0], 0, -1))


def depthwise_conv(data: Any, weight: Any, window: Window, kernel: DotKernel) -> Any:
    """Depthwise convolution of ``data [*lead, *S, C]`` with a weight ``[*K, C]``.

    Returns:
        A TE tensor ``[*lead, *S', C]`` of dtype ``kernel.acc``.
    """
    lead, spatial, channels = _split_shape(data, window)
    padded = _pad(data, window, channels)
    taps = _taps(window)
    n = len(lead)

    def tap(*i: Any) -> Any:
        left = element(padded, *i[:n], *_at(window, i[n:-1], taps), i[-1])
        right = element(weight, *taps, i[-1])
        product = widen(left, kernel.data, kernel.acc) * widen(right, kernel.weight, kernel.acc)
        return te.sum(product, axis=taps)

    return te.compute(
        (*lead, *window.output(spatial), channels),
        tap,
        name="depthwise",
        attrs={ANCHOR: "depthwise_conv"},
    )
