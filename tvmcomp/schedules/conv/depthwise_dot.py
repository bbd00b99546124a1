"""Depthwise int8 convolution with a dot-product instruction: some rows of the window at a time.

A dot product reduces four neighbouring bytes, or two of them widened (``vpmaddwd``), and a
depthwise convolution has no input channels to reduce. So the bytes of as many input rows are
interleaved channel by channel in registers, and the dot product takes as many taps of every channel
at once. The interleaved column serves every output pixel whose window holds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.schedules.anchor import ANCHOR, Anchor, element
from tvmcomp.schedules.columns import DEPTH
from tvmcomp.schedules.conv.depthwise_conv import in_whole_vectors, vector_lanes, without_filling
from tvmcomp.targets import TargetDescription
from tvmcomp.tvm_import import tvm
from tvmcomp.tvm_types import PrimExpr, Tensor

te = tvm.te

#: Value of :data:`ANCHOR` on the accumulation.
DEPTHWISE_DOT = "depthwise_dot"
#: Block attribute: rows of the data from one of the window's to the next.
DILATION = "tvmcomp.dilation"
#: Channels computed together, and the dtype of the data, by the target's dot product.
_LANES = {
    "avx512_vnni": (16, "uint8"),
    "amx_int8": (16, "uint8"),
    "avx_vnni": (8, "uint8"),
    "sdot": (8, "int8"),
    "i8mm": (8, "int8"),
}
#: The dot product that takes two rows, and not four: its weights lie by pairs of rows.
_IN_PAIRS = "pmaddwd"


def dot_lanes(anchor: Anchor, dtype: str, target: TargetDescription) -> int | None:
    """Channels to compute together; None where the target or the window has no use for it.

    Args:
        anchor: the convolution, of data ``[*lead, H, W, C]``.
        dtype: of the data.
        target: the device.
    """
    window = anchor.window
    lanes, accepted = _LANES.get(target.dot_product, (0, ""))
    if target.dot_product == _IN_PAIRS:
        lanes, accepted = target.vector_bits // 32, "uint8"
    if dtype != accepted or len(window.kernel) != 2 or window.kernel[0] < 3:
        return None
    return vector_lanes(anchor.channels, lanes, DEPTH)


def pack_depthwise_dot_weight(
    weight: np.ndarray, lanes: int, target: TargetDescription
) -> np.ndarray:
    """Pack ``[C, KH, KW, 1]`` into ``[KW, C'/lanes, lanes, KH]``, or, for a dot product of two
    rows, into ``[KW, C'/lanes, pairs, lanes, 2]``, an odd last row beside zeros."""
    weight = in_whole_vectors(weight, lanes)
    _, height, width, _ = weight.shape
    if target.dot_product == _IN_PAIRS:
        even = np.pad(weight[..., 0], [(0, 0), (0, height % 2), (0, 0)])
        split = even.reshape(-1, lanes, even.shape[1] // 2, 2, width)
        return np.ascontiguousarray(split.transpose(4, 0, 2, 1, 3))
    split = weight.reshape(-1, lanes, height, width)
    return np.ascontiguousarray(split.transpose(3, 0, 1, 2))


def depthwise_dot_conv(data: Tensor, weight: Tensor, anchor: Anchor, lanes: int) -> Tensor:
    """Depthwise convolution of 8-bit ``data [*lead, H, W, C']``.

    Args:
        data: with the border of
            :func:`~tvmcomp.schedules.conv.depthwise_conv.depthwise_padding` around it.
        weight: from :func:`pack_depthwise_dot_weight`.
        anchor: the convolution.
        lanes: of :func:`dot_lanes`.

    Returns:
        A TE tensor ``[*lead, H', W', C]`` of int32.
    """
    window, n = anchor.window, len(anchor.lead)
    in_pairs = len(weight.shape) > 4
    column = te.reduce_axis((0, window.kernel[1]), name="column")
    row = te.reduce_axis((0, window.kernel[0]), name="row")
    (stride_y, stride_x), (dilation_y, dilation_x) = window.strides, window.dilation

    def taps(*i: PrimExpr) -> Any:
        y, x, c = i[n:]
        at_y, at_x = y * stride_y + row * dilation_y, x * stride_x + column * dilation_x
        left = element(data, *i[:n], at_y, at_x, c)
        in_block = (row // 2, c % lanes, row % 2) if in_pairs else (c % lanes, row)
        right = element(weight, column, c // lanes, *in_block)
        return te.sum(left.astype("int32") * right.astype("int32"), axis=[column, row])

    conv = te.compute(
        (*anchor.lead, *anchor.output, int(weight.shape[1]) * lanes),
        taps,
        name="depthwise",
        attrs={ANCHOR: DEPTHWISE_DOT, DILATION: dilation_y},
    )
    return without_filling(conv, anchor)
