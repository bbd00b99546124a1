"""Pack weights into tiles: ``pack`` neighbouring inputs of 16 output channels in each row."""

from __future__ import annotations

import math

import numpy as np

from tvmcomp.schedules.amx.plan import TILE, AmxPlan


def pack_amx_weight(weight: np.ndarray, plan: AmxPlan) -> np.ndarray:
    """Pack a weight ``[O, *K, I / groups]``, ``I`` without its zeros, into ``plan.weight_shape``.

    Inputs that two pieces of the reduction read are multiplied with zero in the second, as are
    those that a piece reads beyond the last input, and those of another of the merged groups; the
    channels that the last block lacks are zeros.
    """
    weight = np.pad(weight, ((0, 0),) * (weight.ndim - 1) + ((0, plan.zeros),))
    weight = _merge_groups(weight, plan.window.groups * plan.merged, plan.merged)
    depth, band = plan.depth, plan.band
    runs = weight.reshape(weight.shape[0], math.prod(depth.taps), depth.length)
    pieces = np.zeros((*runs.shape[:2], depth.chunks, depth.chunk), weight.dtype)
    for piece in range(depth.chunks):
        first, fresh = depth.start(piece), piece * depth.chunk
        last = min(first + depth.chunk, depth.length)
        pieces[..., piece, fresh - first : last - first] = runs[..., fresh:last]
    missing = plan.channel_blocks * band.channels - plan.out_channels
    pieces = np.concatenate((pieces, np.zeros((missing, *pieces.shape[1:]), weight.dtype)))
    columns = np.zeros(
        (plan.channel_blocks, band.channel_tiles * TILE, depth.steps, depth.chunk), weight.dtype
    )
    columns[:, : band.channels] = pieces.reshape(
        plan.channel_blocks, band.channels, depth.steps, depth.chunk
    )
    pack = plan.kernel.pack
    split = columns.reshape(
        plan.channel_blocks, band.channel_tiles, TILE, depth.steps, depth.chunk // pack, pack
    )
    return np.ascontiguousarray(split.transpose(0, 1, 3, 4, 2, 5))


def _merge_groups(weight: np.ndarray, groups: int, merged: int) -> np.ndarray:
    """Make ``merged`` neighbours of ``groups`` groups one whose weights are block-diagonal.

    ``weight`` holds, for an output channel, the inputs of its own group only.
    """
    if merged == 1:
        return weight
    out_channels, *window, inputs = weight.shape
    by_group = weight.reshape(groups, out_channels // groups, *window, inputs)
    wide = np.zeros((*by_group.shape[:-1], merged, inputs), weight.dtype)
    for group in range(groups):
        wide[group, ..., group % merged, :] = by_group[group]
    return wide.reshape(out_channels, *window, merged * inputs)
