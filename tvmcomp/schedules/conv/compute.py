"""What the anchors compute, in TE: convolution and matrix product over packed weights, NHWC.

One definition serves any number of spatial dimensions: a matrix product ``[..., M, K] x [K, N]`` is
a convolution whose leading dimensions are spatial and whose window is one element.

Blocks are named for the schedules: ``conv`` or ``depthwise`` (the accumulation, marked with the
anchor attribute), ``crop`` where the packed channels exceed the real ones, then ``merge`` where
groups become channels. What lies around the data is a kernel of its own, ``pad``, which
:mod:`tvmcomp.passes.scheduled.halo` takes away again where the data's producer can
write the border itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
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
#: Block attribute of a convolution: multiply-accumulates that the network asks for, no padding
#: counted.
MACS = "tvmcomp.macs"
#: PrimFunc attribute of a padding kernel: elements before and after each dimension, in turns.
PADDING = "tvmcomp.padding"
#: PrimFunc attribute of a padding kernel: what the border holds.
PAD_VALUE = "tvmcomp.pad_value"


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


#: Elements (before, after) each dimension.
Widths = tuple[tuple[int, int], ...]


def conv_padding(
    shape: Sequence[int],
    window: Window,
    out_channels: int,
    kernel: DotKernel,
    target: TargetDescription,
) -> Widths:
    """What :func:`direct_conv` needs around data of ``shape``: the window's own padding, and what
    its whole blocks of pixels and of input channels read beyond that.
    """
    *lead_spatial, channels = shape
    lead = len(lead_spatial) - len(window.kernel)
    width, whole_width = _row(window, shape, out_channels, kernel, target)
    before, after = window.padding[-1]
    spatial = (*window.padding[:-1], (before, after + (whole_width - width) * window.strides[-1]))
    # What a group reads beyond its own channels is the next group's, times weights of zero; behind
    # the last group there must be something to read.
    group_in = channels // window.groups
    packed_in = -(-group_in // kernel.depth) * kernel.depth
    return (*((0, 0),) * lead, *spatial, (0, packed_in - group_in))


def depthwise_padding(shape: Sequence[int], window: Window) -> Widths:
    """What :func:`depthwise_conv` needs around data of ``shape``."""
    lead = len(shape) - 1 - len(window.kernel)
    return (*((0, 0),) * lead, *window.padding, (0, 0))


def pad(data: Any, widths: Widths, value: int) -> Any:
    """``data`` with a border of ``value``."""
    shape = [int(dim) for dim in data.shape]

    def at(*index: Any) -> Any:
        inside = []
        for x, size, (before, after) in zip(index, shape, widths, strict=True):
            if before:
                inside.append(x >= before)
            if after:
                inside.append(x < size + before)
        source = [x - before for x, (before, _) in zip(index, widths, strict=True)]
        return tirx.if_then_else(
            tirx.all(*inside), element(data, *source), tirx.const(value, data.dtype)
        )

    padded = [size + before + after for size, (before, after) in zip(shape, widths, strict=True)]
    return te.compute(padded, at, name="pad")


def _row(
    window: Window,
    shape: Sequence[int],
    out_channels: int,
    kernel: DotKernel,
    target: TargetDescription,
) -> tuple[int, int]:
    """Pixels in a row of the output, for data of ``shape``, and in its whole blocks."""
    size, channels = shape[-2:]
    before, after = window.padding[-1]
    reach = window.dilation[-1] * (window.kernel[-1] - 1) + 1
    width = (size + before + after - reach) // window.strides[-1] + 1
    vectors = -(-(out_channels // window.groups) // kernel.lanes)
    steps = math.prod(window.kernel) * -(-channels // window.groups // kernel.depth)
    pixels, _ = register_blocks(width, vectors, target, kernel, steps)[0]
    return width, -(-width // pixels) * pixels


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
    shape: Sequence[int],
    window: Window,
    out_channels: int,
    kernel: DotKernel,
    target: TargetDescription,
) -> Any:
    """Convolution of ``data [*lead, *S, C]`` with a weight from :func:`pack_conv_weight`.

    A row of the output is computed up to a whole number of accumulator blocks, and what exceeds it
    is cropped: the kernel's loops have no conditions in them.

    Args:
        data: with the border of :func:`conv_padding` around it.
        weight: from :func:`pack_conv_weight`.
        shape: of the data without its border.
        window: the geometry.
        out_channels: of the result.
        kernel: the dot product.
        target: the device.

    Returns:
        A TE tensor ``[*lead, *S', out_channels]`` of dtype ``kernel.acc``.
    """
    rank = len(window.kernel)
    lead, spatial, channels = shape[: -rank - 1], shape[-rank - 1 : -1], shape[-1]
    groups = window.groups
    inner = int(weight.shape[2 + rank])
    group_in = channels // groups
    packed_out = int(weight.shape[1]) * kernel.lanes
    group_out = out_channels // groups
    out_spatial = window.output(spatial)
    _, whole_width = _row(window, shape, out_channels, kernel, target)
    taps = _taps(window)
    reduce_outer = te.reduce_axis((0, inner), name="ico")
    reduce_inner = te.reduce_axis((0, kernel.depth), name="ici")

    def product(outer: Sequence[Any], group: Any, at: Sequence[Any], o: Any) -> Any:
        channel = group * group_in + reduce_outer * kernel.depth + reduce_inner
        left = element(data, *outer, *_at(window, at, taps), channel)
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
        conv = _accumulators(
            (*lead, *whole, packed_out),
            lambda *i: product(i[:n], 0, i[n:-1], i[-1]),
            kernel,
            macs,
        )
        if packed_out == out_channels and whole == out_spatial and kernel.pixels == 1:
            return conv
        cropped = (*lead, *out_spatial, out_channels)
        return te.compute(cropped, lambda *i: element(conv, *_in_tile(i, kernel)), name="crop")
    grouped = _accumulators(
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
            cropped, lambda *i: element(grouped, *_in_tile(i, kernel)), name="crop"
        )
    else:
        whole_groups = grouped
    return te.compute(
        (*lead, *out_spatial, out_channels),
        lambda *i: element(whole_groups, *i[:n], i[-1] // group_out, *i[n:-1], i[-1] % group_out),
        name="merge",
    )


def _accumulators(
    shape: Sequence[int], value: Callable[..., Any], kernel: DotKernel, macs: int
) -> Any:
    """The block ``conv`` over ``shape [*, width, channels]``.

    Where a register of accumulators holds several pixels, its elements are the innermost two
    dimensions of the result: ``[*, width / pixels, channels / lanes, pixels, lanes]``.
    """
    if kernel.pixels == 1:
        return te.compute(shape, value, name="conv", attrs={ANCHOR: "direct_conv", MACS: macs})
    *outer, width, channels = shape
    pixels, lanes = kernel.pixels, kernel.lanes

    def in_register(*i: Any) -> Any:
        *at, w, c, pixel, lane = i
        return value(*at, w * pixels + pixel, c * lanes + lane)

    tiles = (*outer, width // pixels, channels // lanes, pixels, lanes)
    attrs = {ANCHOR: "pixel_pairs", MACS: macs}
    return te.compute(tiles, in_register, name="conv", attrs=attrs)


def _in_tile(index: Sequence[Any], kernel: DotKernel) -> Sequence[Any]:
    """Where the element ``index [*, width, channel]`` is in the result of :func:`_accumulators`."""
    if kernel.pixels == 1:
        return index
    *at, w, c = index
    pixels, lanes = kernel.pixels, kernel.lanes
    return (*at, w // pixels, c // lanes, w % pixels, c % lanes)


def pack_depthwise_weight(weight: np.ndarray) -> np.ndarray:
    """Pack ``[C, *K, 1]`` into ``[*K, C]``."""
    return np.ascontiguousarray(np.moveaxis(weight[..., 0], 0, -1))


def depthwise_conv(
    data: Any, weight: Any, shape: Sequence[int], window: Window, kernel: DotKernel
) -> Any:
    """Depthwise convolution of ``data [*lead, *S, C]`` with a weight ``[*K, C]``.

    Args:
        data: with the border of :func:`depthwise_padding` around it.
        weight: from :func:`pack_depthwise_weight`.
        shape: of the data without its border.
        window: the geometry.
        kernel: the numeric types.

    Returns:
        A TE tensor ``[*lead, *S', C]`` of dtype ``kernel.acc``.
    """
    rank = len(window.kernel)
    lead, spatial, channels = shape[: -rank - 1], shape[-rank - 1 : -1], shape[-1]
    taps = _taps(window)
    n = len(lead)

    def tap(*i: Any) -> Any:
        left = element(data, *i[:n], *_at(window, i[n:-1], taps), i[-1])
        right = element(weight, *taps, i[-1])
        product = widen(left, kernel.data, kernel.acc) * widen(right, kernel.weight, kernel.acc)
        return te.sum(product, axis=taps)

    return te.compute(
        (*lead, *window.output(spatial), channels),
        tap,
        name="depthwise",
        attrs={ANCHOR: "depthwise_conv"},
    )
