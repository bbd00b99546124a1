"""Constants behind a ``dequantize``: weights whose zero is 0, recurrent ones, tables, biases."""

from __future__ import annotations

import numpy as np

from tvmcomp.passes.integers.qdq import dequantize_params
from tvmcomp.passes.rewriter import const_value, op_name
from tvmcomp.tvm_types import Call


def symmetric_weight(call: Call | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The int8 weight that ``call`` dequantizes, and its scale: one, or one an output channel.

    None where ``call`` is no such ``dequantize``. Channels are a convolution's first axis and a
    matrix's last one.
    """
    if call is None or op_name(call) != "dequantize":
        return None
    values, params = const_value(call.args[0]), dequantize_params(call)
    if values is None or params is None:
        return None
    zero_point = params.zero_point
    if values.dtype == np.uint8:
        values = (values.astype(np.int16) - 128).astype(np.int8)
        zero_point = zero_point - 128
    if values.dtype != np.int8 or np.any(zero_point):
        return None
    if params.axis is not None and values.shape[params.axis] != params.scale.size:
        return None
    out_axis = 0 if values.ndim > 2 else values.ndim - 1
    if params.axis is not None and params.scale.size > 1 and params.axis != out_axis:
        return None
    return values, params.scale.reshape(-1)


def weight_by_row(call: Call | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The int8 weight of a recurrent layer, or the table, that ``call`` dequantizes, and the scale
    of each of its rows.

    None where ``call`` is no such ``dequantize``.
    """
    if call is None or op_name(call) != "dequantize":
        return None
    values, params = const_value(call.args[0]), dequantize_params(call)
    if values is None or params is None or values.dtype != np.int8 or np.any(params.zero_point):
        return None
    if not values.ndim or params.axis not in (None, 0):
        return None
    return values, np.broadcast_to(params.scale.reshape(-1), len(values)).astype(np.float32)


def real_bias(call: Call) -> np.ndarray | None:
    """An imported model's int32 bias that the ``dequantize`` of ``call`` makes real, in float32."""
    value, params = const_value(call.args[0]), dequantize_params(call)
    if value is None or params is None or params.dtype != "int32":
        return None
    scale, zero_point = params.scale, params.zero_point
    if params.axis is not None:
        shape = [1] * value.ndim
        shape[params.axis] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    real = (value.astype(np.float64) - zero_point) * scale
    return np.asarray(real, np.float32)
