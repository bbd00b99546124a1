"""Depthwise int8 convolution with a dot-product instruction: four rows of the window at a time.

A dot product reduces four neighbouring bytes, and a depthwise convolution has no input channels to
reduce. So the bytes of up to four input rows are interleaved channel by channel in registers, and
the dot product takes four taps of every channel at once. The interleaved column serves every output
pixel whose window holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvmcomp.schedules.arm.columns import sdot_columns
from tvmcomp.schedules.blocking import Decide
from tvmcomp.schedules.columns import DEPTH
from tvmcomp.schedules.conv.compute import ANCHOR, Window, element
from tvmcomp.schedules.epilogue import accumulate_in_registers, vectorize_channels
from tvmcomp.schedules.parallel import anchor_work, parallelize
from tvmcomp.schedules.x86.columns import vpdpbusd_columns
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm

te = tvm.te

#: Value of :data:`ANCHOR` on the accumulation.
DEPTHWISE_DOT = "depthwise_dot"
#: Block attribute: rows of the data from one of the window's to the next.
_DILATION = "tvmcomp.dilation"
#: Channels computed together, and the dtype of the data, by the target's dot product.
_LANES = {
    "avx512_vnni": (16, "uint8"),
    "amx_int8": (16, "uint8"),
    "avx_vnni": (8, "uint8"),
    "sdot": (8, "int8"),
    "i8mm": (8, "int8"),
}
#: Registers for a column of data, its weight, and the epilogue.
_OPERANDS = 12


def dot_lanes(
    shape: Sequence[int], window: Window, dtype: str, target: TargetDescription
) -> int | None:
    """Channels to compute together; None where the target or the window has no use for it.

    Args:
        shape: of the data, ``[*lead, H, W, C]``.
        window: the geometry.
        dtype: of the data.
        target: the device.
    """
    lanes, accepted = _LANES.get(target.dot_product, (0, ""))
    if dtype != accepted or len(window.kernel) != 2 or window.kernel[0] < 3:
        return None
    while lanes >= DEPTH and shape[-1] % lanes:
        lanes //= 2
    return lanes if lanes >= DEPTH else None


def pack_depthwise_dot_weight(weight: np.ndarray, lanes: int) -> np.ndarray:
    """Pack ``[C, KH, KW, 1]`` into ``[KW, C/lanes, lanes, KH]``."""
    _, height, width, _ = weight.shape
    split = weight.reshape(-1, lanes, height, width)
    return np.ascontiguousarray(split.transpose(3, 0, 1, 2))


def depthwise_dot_conv(
    data: Any, weight: Any, shape: Sequence[int], window: Window, lanes: int
) -> Any:
    """Depthwise convolution of 8-bit ``data [*lead, H, W, C]``.

    Args:
        data: with the border of :func:`~tvmcomp.schedules.conv.compute.depthwise_padding` around
            it.
        weight: from :func:`pack_depthwise_dot_weight`.
        shape: of the data without its border.
        window: the geometry.
        lanes: of :func:`dot_lanes`.

    Returns:
        A TE tensor ``[*lead, H', W', C]`` of int32.
    """
    lead, spatial, channels = shape[:-3], shape[-3:-1], shape[-1]
    n = len(lead)
    column = te.reduce_axis((0, window.kernel[1]), name="column")
    row = te.reduce_axis((0, window.kernel[0]), name="row")
    (stride_y, stride_x), (dilation_y, dilation_x) = window.strides, window.dilation

    def taps(*i: Any) -> Any:
        y, x, c = i[n:]
        at_y, at_x = y * stride_y + row * dilation_y, x * stride_x + column * dilation_x
        left = element(data, *i[:n], at_y, at_x, c)
        right = weight[column, c // lanes, c % lanes, row]
        return te.sum(left.astype("int32") * right.astype("int32"), axis=[column, row])

    return te.compute(
        (*lead, *window.output(spatial), channels),
        taps,
        name="depthwise",
        attrs={ANCHOR: DEPTHWISE_DOT, _DILATION: dilation_y},
    )


def schedule_depthwise_dot(sch: Any, block: Any, target: TargetDescription, decide: Decide) -> None:
    """Schedule the PrimFunc in ``sch`` whose anchor is the ``depthwise`` block ``block``."""
    lanes = int(sch.get(block).reads[-1].source.shape[-2])
    dilation = int(sch.get(block).annotations[_DILATION])
    work = anchor_work(sch, block, target)
    epilogue = accumulate_in_registers(sch, block, target)
    *rows, width, channel, column, row = sch.get_loops(block)
    pixels = int(sch.get(width).extent)
    candidates = [p for p in range(1, 15) if pixels % p == 0]
    registers = -(-32 * lanes // target.vector_bits)
    most = max(1, min(8, (target.vector_registers - _OPERANDS) // registers))
    p = decide(sch, "pixels", candidates, max(p for p in candidates if p <= most))
    order = decide(sch, "channels_outside", [0, 1, 2], 0)

    channel_outer, vector = sch.split(channel, [None, lanes])
    width_outer, width_block = sch.split(width, [None, p])
    tiles = [*rows, width_outer]
    tiles.insert((len(rows) + 1, len(rows), len(rows) - 1)[order], channel_outer)
    sch.reorder(*tiles, column, width_block, vector, row)
    sch.reverse_compute_at(epilogue, tiles[-1])
    parallelize(sch, tiles[: tiles.index(width_outer)] if order else rows, work, decide)
    sch.unroll(column)
    sch.unroll(width_block)
    init = sch.decompose_reduction(block, column)
    *_, init_pixels, init_lanes = sch.get_loops(init)
    sch.unroll(init_pixels)
    sch.vectorize(init_lanes)
    columns = sdot_columns if target.family == "arm" else vpdpbusd_columns
    sch.tensorize(vector, columns(lanes, int(sch.get(row).extent), dilation))
    vectorize_channels(sch, epilogue, target)
