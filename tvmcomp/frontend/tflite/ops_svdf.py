"""SVDF: a dense layer's results of the last runs, weighted in time (Nakkiran et al., "Compressing
Deep Neural Networks using a Rank-Constrained Topology", Interspeech 2015).

In integers its state has 16 bits. LiteRT demands a ReLU there and leaves it to the output's zero
point.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tvmcomp.frontend.tflite.call import Call
from tvmcomp.frontend.tflite.fixed_point import give_steps, multiplied, out_scale, scale_of
from tvmcomp.frontend.tflite.network import Tensor

_DATA, _FEATURES, _TIME, _BIAS, _STATE = range(5)


def svdf(call: Call) -> None:
    """SVDF."""
    data, state = call.tensor(_DATA), call.tensor(_STATE)
    features = call.array(_FEATURES)
    if features is None:
        raise ValueError("its weights are no constant")
    if not data.quantized:
        _real(call)
    elif data.dtype == np.int8 and features.dtype == np.int8 and state.dtype == np.int16:
        _in_integers(call, features)
    else:
        raise ValueError(f"it computes with {data.dtype} and a state of {state.dtype}")


def _real(call: Call) -> None:
    features = call.real_array(_FEATURES)
    assert features is not None
    new = call.node("MatMul", call.real(_DATA), call.w.constant(_turned(features)))
    after = _remembered(call, new)
    result = _weighted(call, after, call.real(_TIME))
    if call.has(_BIAS):
        result = call.node("Add", result, call.real(_BIAS))
    call.give(call.activated(result, call.options("SVDFOptions").FusedActivationFunction()))


def _in_integers(call: Call, features: np.ndarray) -> None:
    zero = _zero(call.tensor(_DATA))
    sums = call.node(
        "MatMulInteger",
        call.stored(_DATA),
        call.w.constant(_turned(features)),
        call.w.constant(zero),
    )
    steps = multiplied(
        call, call.cast(sums, "float64"), _ratio(call, _DATA, _FEATURES, scale_of(call, _STATE))
    )
    limits = np.iinfo(np.int16)
    bounds = (call.w.constant(np.float64(end)) for end in (limits.min, limits.max))
    new = call.cast(call.node("Clip", steps, *bounds), "int16")
    after = call.cast(_remembered(call, new), "float64")
    sums = _weighted(call, after, call.cast(call.stored(_TIME), "float64"))
    if call.has(_BIAS):
        sums = call.node("Add", sums, call.cast(call.stored(_BIAS), "float64"))
    give_steps(call, multiplied(call, sums, _ratio(call, _STATE, _TIME, out_scale(call))))


def _ratio(call: Call, left: int, right: int, step: float) -> float:
    """The scale of a product in steps of its result: in float32, as it computes it."""
    scales = np.float32(scale_of(call, left)) * np.float32(scale_of(call, right))
    return float(scales / np.float32(step))


def _remembered(call: Call, new: str) -> str:
    """The results of a run and of those before it: ``[batch, filters, memory]``."""
    state, filters = call.tensor(_STATE), call.static(_FEATURES)[0]
    memory = call.static(_TIME)[1]
    if state.dtype is None:
        raise ValueError("its state has no type")
    name = state.name or "svdf_state"
    before = call.state.variables.read(name, state.dtype, state.default_shape)
    shape = call.w.ints([state.default_shape[0], filters, memory])
    before = call.node("Reshape", before, shape)
    kept = call.node("Slice", before, call.w.ints([1]), call.w.ints([memory]), call.w.ints([2]))
    after = call.node("Concat", kept, call.node("Unsqueeze", new, call.w.ints([2])), axis=2)
    flat = call.node("Reshape", after, call.w.ints(state.default_shape))
    call.state.variables.assign(name, flat, state.dtype, state.default_shape)
    return after


def _weighted(call: Call, after: str, weights: str) -> str:
    """The sums over time, and over the filters of a unit: ``[batch, units]``."""
    filters, memory = call.static(_TIME)
    rank = call.options("SVDFOptions").Rank()
    if rank < 1 or filters % rank:
        raise ValueError(f"its rank {rank} does not divide {filters} filters")
    batch = call.tensor(_STATE).default_shape[0]
    weighted = call.node("Mul", after, weights)
    grouped = call.node("Reshape", weighted, call.w.ints([batch, filters // rank, rank * memory]))
    return call.node("ReduceSum", grouped, call.w.ints([2]), keepdims=0)


def _turned(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix.T)


def _zero(tensor: Tensor) -> np.ndarray:
    assert tensor.quantization is not None and tensor.dtype is not None
    return tensor.quantization.zero_point.reshape(()).astype(tensor.dtype)


#: Operator of the source -> converter.
SVDF: dict[str, Callable[[Call], None]] = {"SVDF": svdf}
