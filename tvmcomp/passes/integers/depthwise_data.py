"""Data with a scale for each channel, as NNCF quantizes what a depthwise convolution reads.

Each output channel reads one input channel alone: the two scales are one factor of its sum, and its
zero point's share is a constant like any other's. Any other convolution adds up channels of
different scales, and stays float.
"""

from __future__ import annotations

import numpy as np

from tvmcomp.passes.operator_kinds import CONVOLUTIONS
from tvmcomp.passes.rewriter import op_name
from tvmcomp.qparams import QParams
from tvmcomp.tvm_types import Call


def by_output(params: QParams, call: Call, outputs: int) -> QParams | None:
    """Parameters of an anchor's data, one for each of its output channels.

    Args:
        params: of the data; those of one scale are given back.
        call: the anchor.
        outputs: how many channels its result has.

    Returns:
        None where an output would mix scales, or padding would need several zero points.
    """
    if params.axis is None:
        return params
    if op_name(call) not in CONVOLUTIONS:
        return None
    attrs, channels = call.attrs, params.scale.size
    if int(attrs.groups) != channels or params.axis != str(attrs.data_layout).index("C"):
        return None
    if any(int(p) for p in attrs.padding) and np.ptp(params.zero_point):
        return None
    times = outputs // channels
    scale, zero_point = (np.repeat(a, times) for a in (params.scale, params.zero_point))
    return QParams(scale, zero_point, params.dtype, 0)
