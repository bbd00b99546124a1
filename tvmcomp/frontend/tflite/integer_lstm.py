"""UNIDIRECTIONAL_SEQUENCE_LSTM in integers alone, as ``tvmcomp.QuantizedLSTM``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tvmcomp.frontend.onnx.quantized_lstm import DOMAIN, QUANTIZED_LSTM
from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.network import Quantization, Tensor

#: The gates' places in the source are input, forget, cell, output; ONNX's order is i, o, f, c.
_IOFC = (0, 3, 1, 2)
#: Inputs: weights and recurrent weights of four gates, biases, state and cell.
_WEIGHTS, _RECURRENT, _BIASES, _STATE, _CELL = 1, 5, 12, 18, 19
#: Peepholes, projection and layer normalization.
_OTHERS = (*range(9, 12), 16, 17, *range(20, 24))
#: The place of the hidden state's scale among the intermediate tensors.
_HIDDEN = 4


def is_in_integers(call: Call) -> bool:
    """Whether LiteRT computes the layer in integers, and it has four gates and no more."""
    given = [call.tensor(i) for i in (0, _STATE) if call.has(i)]
    weights = [call.array(first + gate) for first in (_WEIGHTS, _RECURRENT) for gate in range(4)]
    return (
        len(given) == 2
        and all(tensor.quantized and tensor.dtype == np.int8 for tensor in given)
        and all(weight is not None and weight.dtype == np.int8 for weight in weights)
        and not any(call.has(i) for i in _OTHERS)
    )


def integer_lstm(call: Call, time_major: bool, cell_clip: float) -> None:
    """Write the layer.

    Raises:
        ValueError: it is not as LiteRT has it.
    """
    x, state = _single(call.tensor(0)), _single(call.tensor(_STATE))
    weight, w_scales = _gates(call, _WEIGHTS)
    recurrent, r_scales = _gates(call, _RECURRENT)
    biases = [call.constant(_BIASES + gate) for gate in _IOFC]
    if any(bias.dtype != np.int32 for bias in biases):
        raise ValueError("its biases are not int32")
    given = call.operator.intermediates[_HIDDEN:]
    if not given:
        raise ValueError("the scale of its hidden state is left out")
    hidden = _single(call.values.subgraph.tensors[given[0]])
    units = recurrent.shape[1]
    if len(recurrent) != 4 * units:
        raise ValueError("its weights don't fit each other")
    data = call.stored(0)
    if not time_major:
        data = call.transposed(data, [1, 0, 2])
    states = call.node(
        QUANTIZED_LSTM,
        data,
        call.w.constant(weight),
        call.w.constant(recurrent),
        call.w.constant(np.concatenate(biases)),
        domain=DOMAIN,
        x_scale=float(x.scale[0]),
        x_zero_point=int(x.zero_point[0]),
        w_scales=w_scales,
        r_scales=r_scales,
        y_scale=float(hidden.scale[0]),
        y_zero_point=int(hidden.zero_point[0]),
        h_scale=float(state.scale[0]),
        h_zero_point=int(state.zero_point[0]),
        cell_exponent=_exponent(call.tensor(_CELL)),
        cell_clip=max(float(cell_clip), 0.0),
        hidden_size=units,
    )
    call.give_stored(states if time_major else call.transposed(states, [1, 0, 2]))


def _single(tensor: Tensor) -> Quantization:
    if tensor.quantization is None or not tensor.quantization.per_tensor:
        raise ValueError(f"{tensor.name!r} must have one scale")
    return tensor.quantization


def _key(quantization: Quantization) -> tuple[float, int]:
    return float(quantization.scale[0]), int(quantization.zero_point[0])


def _gates(call: Call, first: int) -> tuple[np.ndarray, Sequence[float]]:
    """Four gates' matrices, one below the other, and their scales."""
    quantizations = [_single(call.tensor(first + gate)) for gate in _IOFC]
    if any(each.zero_point.any() for each in quantizations):
        raise ValueError("its weights have a zero point")
    matrices = [call.constant(first + gate) for gate in _IOFC]
    return np.concatenate(matrices), [float(each.scale[0]) for each in quantizations]


def _exponent(cell: Tensor) -> int:
    """The power of two that the cell's scale is."""
    scale, zero_point = _key(_single(cell))
    exponent = round(math.log2(scale)) if scale > 0 else 0
    if cell.dtype != np.int16 or zero_point or abs(scale / 2.0**exponent - 1) > 1e-3:
        raise ValueError(f"the scale {scale} of its cell is no power of two")
    return exponent
