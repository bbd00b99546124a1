"""Fused recurrent layers as ONNX's LSTM and RNN.

The state of such a layer is zero at the start of each run, as in the network that was converted.
(TensorFlow Lite's interpreter keeps it from run to run until it is told to reset it.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.integer_lstm import integer_lstm, is_in_integers

#: TensorFlow's converter writes this limit of the cell state for layers that have none.
_NO_CLIP = 10.0
#: The gates' places in the source are input, forget, cell, output; ONNX's order is i, o, f, c.
_IOFC = (0, 3, 1, 2)
_ACTIVATIONS = {0: "Affine", 1: "Relu", 4: "Tanh"}


def _parts(call: Call, first: int, gates: Sequence[int]) -> list[np.ndarray | None]:
    return [call.real_array(first + gate) for gate in gates]


def _weights(call: Call, first: int) -> np.ndarray:
    """Four gates' matrices, one below the other; a missing input gate is 1 - the forget gate:
    ``sigmoid(-z)``, of the forget gate's ``z``."""
    parts = _parts(call, first, _IOFC)
    if parts[0] is None and parts[2] is not None:
        parts[0] = -parts[2]
    found = [part for part in parts if part is not None]
    if len(found) != 4:
        raise ValueError("the weights of its gates are no constants")
    return np.concatenate(found).astype(np.float32)


def _optional(
    call: Call, first: int, count: int, order: Sequence[int], coupled: int
) -> list[np.ndarray]:
    """Vectors of gates, zero where missing, minus the forget gate's for a missing input gate."""
    parts = _parts(call, first, order)
    if all(part is None for part in parts):
        return []
    coupled_input = not call.has(coupled)
    forget = parts[list(order).index(1)]
    if coupled_input and parts[0] is None and forget is not None:
        parts[0] = -forget
    return [np.zeros(count, np.float32) if part is None else part for part in parts]


def _direction(call: Call, base: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """W, R, B and P of one direction, whose inputs begin at ``base``."""
    for i, what in ((base + 15, "a projection"), (base + 16, "a projection's bias")):
        if call.has(i):
            raise ValueError(f"{what} is not supported")
    weights, recurrent = _weights(call, base), _weights(call, base + 4)
    units = recurrent.shape[1]
    if recurrent.shape != (4 * units, units) or len(weights) != 4 * units:
        raise ValueError("its weights don't fit each other")
    biases = _optional(call, base + 11, units, _IOFC, base)
    # Peepholes of input, forget and output; ONNX's order is i, o, f.
    peepholes = _peepholes(call, base, units)
    bias = np.concatenate([*biases, np.zeros(4 * units)]) if biases else np.zeros(8 * units)
    return weights, recurrent, bias.astype(np.float32), peepholes


def _peepholes(call: Call, base: int, units: int) -> np.ndarray:
    given: list[Any] = [call.real_array(base + 8 + i) for i in range(3)]
    if given[0] is None and given[1] is not None and not call.has(base):
        given[0] = -given[1]
    zeros = np.zeros(units, np.float32)
    ordered = [zeros if given[i] is None else given[i] for i in (0, 2, 1)]
    return np.concatenate(ordered).astype(np.float32)


def _check(call: Call, clip: float, projection: float, activation: int) -> None:
    if 0 < clip < _NO_CLIP or projection:
        raise ValueError(f"a limit of {clip or projection} on its state is not supported")
    if activation not in (0, 4):
        raise ValueError(f"its activation {activation} is not supported")


def _stored(call: Call, first: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Four gates' matrices as they are stored in 8 bits, and the scale of each row; None where
    they are stored otherwise, or one is missing."""
    arrays, scales = [], []
    for gate in _IOFC:
        array = call.array(first + gate)
        if array is None or array.dtype != np.int8:
            return None
        quantization = call.tensor(first + gate).quantization
        if quantization is None or quantization.axis != 0 or quantization.zero_point.any():
            return None
        arrays.append(array)
        scales.append(np.broadcast_to(quantization.scale, len(array)))
    return np.concatenate(arrays), np.concatenate(scales)


def _matrices(call: Call, first: int, real: np.ndarray, directions: int) -> str:
    """The weights ``real`` of all directions, whose first is in the inputs from ``first`` on: in 8
    bits where there is one direction, and the file has them so."""
    stored = _stored(call, first) if directions == 1 else None
    if stored is None:
        return call.w.constant(real)
    values, scale = stored
    zero = np.zeros(len(scale), np.int8)
    name = call.w.constant(values[None])
    return call.node(
        "DequantizeLinear", name, call.w.constant(scale), call.w.constant(zero), axis=1
    )


def _lstm(call: Call, bases: Sequence[int], time_major: bool, outputs: int) -> list[str]:
    """The LSTM's results, one a direction, as ``[time, batch, units]`` or batch first."""
    parts = [_direction(call, base) for base in bases]
    weights, recurrent, bias, peepholes = (np.stack(each) for each in zip(*parts, strict=True))
    data = call.real(0)
    if not time_major:
        data = call.requantized(call.transposed(data, [1, 0, 2]), 0)
    inputs = [
        data,
        _matrices(call, bases[0], weights, len(bases)),
        _matrices(call, bases[0] + 4, recurrent, len(bases)),
        call.w.constant(bias),
    ]
    if peepholes.any():
        inputs += ["", "", "", call.w.constant(peepholes)]
    direction = "bidirectional" if len(bases) == 2 else "forward"
    result = call.w.nodes_of(
        "LSTM", inputs, 1, hidden_size=recurrent.shape[2], direction=direction
    )[0]  # [time, directions, batch, units]
    if outputs == 1:
        order = [0, 2, 1, 3] if time_major else [2, 0, 1, 3]
        merged = call.transposed(result, order)
        return [call.node("Reshape", merged, call.w.ints([0, 0, -1]))]
    halves = call.w.nodes_of("Split", [result], 2, axis=1, num_outputs=2)
    halves = [call.node("Squeeze", half, call.w.ints([1])) for half in halves]
    return halves if time_major else [call.transposed(half, [1, 0, 2]) for half in halves]


def unidirectional_sequence_lstm(call: Call) -> None:
    """UNIDIRECTIONAL_SEQUENCE_LSTM."""
    options = call.options("UnidirectionalSequenceLSTMOptions")
    if is_in_integers(call):
        integer_lstm(call, bool(options.TimeMajor()), options.CellClip())
        return
    _check(call, options.CellClip(), options.ProjClip(), options.FusedActivationFunction())
    if any(call.has(i) for i in range(20, 24)):
        raise ValueError("layer normalization inside of it is not supported")
    call.give(_lstm(call, [1], bool(options.TimeMajor()), 1)[0])


def bidirectional_sequence_lstm(call: Call) -> None:
    """BIDIRECTIONAL_SEQUENCE_LSTM."""
    options = call.options("BidirectionalSequenceLSTMOptions")
    _check(call, options.CellClip(), options.ProjClip(), options.FusedActivationFunction())
    if any(call.has(i) for i in range(39, 48)):
        raise ValueError("a second input is not supported")
    count = 1 if options.MergeOutputs() else 2
    results = _lstm(call, [1, 18], bool(options.TimeMajor()), count)
    for i, result in enumerate(results):
        call.give(result, i)


def unidirectional_sequence_rnn(call: Call) -> None:
    """UNIDIRECTIONAL_SEQUENCE_RNN."""
    options = call.options("SequenceRNNOptions")
    activation = _ACTIVATIONS.get(options.FusedActivationFunction())
    if activation is None:
        raise ValueError("its activation is not supported")
    arrays = [call.real_array(i) for i in (1, 2, 3)]
    if any(array is None for array in arrays):
        raise ValueError("its weights are no constants")
    weights, recurrent, bias = (np.asarray(array, np.float32) for array in arrays)
    time_major = bool(options.TimeMajor())
    data = call.real(0) if time_major else call.transposed(call.real(0), [1, 0, 2])
    result = call.w.nodes_of(
        "RNN",
        [
            data,
            call.w.constant(weights[None]),
            call.w.constant(recurrent[None]),
            call.w.constant(np.concatenate([bias, np.zeros_like(bias)])[None]),
        ],
        1,
        hidden_size=len(recurrent),
        activations=[activation],
        activation_alpha=[1.0] if activation == "Affine" else None,
    )[0]
    result = call.node("Squeeze", result, call.w.ints([1]))
    call.give(result if time_major else call.transposed(result, [1, 0, 2]))


#: Operator of the source -> converter.
RECURRENT = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": bidirectional_sequence_lstm,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": unidirectional_sequence_lstm,
    "UNIDIRECTIONAL_SEQUENCE_RNN": unidirectional_sequence_rnn,
}
