"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.fixed_point import (
    give_steps,
    integers,
    multiplied,
    once,
    out_scale,
    scale_of,
)
from tvmcomp.frontend.tflite.network import Tensor
from tvmcomp.frontend.tflite.weights import bias, weight
from tvmcomp.frontend.tflite.wide_sums import has_wide_sums, integer_sums, requantized


def fully_connected(call: Call) -> None:
    """FULLY_CONNECTED: weights OI; without ``keep_num_dims`` the data is made a matrix."""
    options = call.options("FullyConnectedOptions")
    if options.WeightsFormat():
        raise ValueError("its weights are shuffled for one CPU; convert the model again")
    if has_wide_sums(call):
        _wide_fully_connected(call, options)
        return
    data, depth = call.real(0), call.static(1)[-1]
    if not options.KeepNumDims() and (call.tensor(0).shape is None or call.rank(0) != 2):
        data = call.requantized(call.node("Reshape", data, call.w.ints([-1, depth])), 0)
    result = call.node("MatMul", data, weight(call, 1, [1, 0]))
    if call.has(2):
        result = call.node("Add", result, bias(call, 2, call.tensor(0), call.tensor(1)))
    call.give(call.activated(result, options.FusedActivationFunction()))


def _wide_fully_connected(call: Call, options: Any) -> None:
    """FULLY_CONNECTED of 16-bit data."""
    weight, data = call.constant(1), call.stored(0)
    if not options.KeepNumDims() and (call.tensor(0).shape is None or call.rank(0) != 2):
        data = call.node("Reshape", data, call.w.ints([-1, weight.shape[-1]]))
    sums = integer_sums(call, "MatMulInteger", data, np.ascontiguousarray(weight.T))
    fused = options.FusedActivationFunction()
    call.give_stored(requantized(call, sums, 2, [len(weight)], fused))


def batch_matmul(call: Call) -> None:
    """BATCH_MATMUL; ``adj`` swaps the last two axes."""
    options = call.options("BatchMatMulOptions")
    adjoint = (options.AdjX(), options.AdjY())
    kinds = [_kind(tensor) for tensor in (call.tensor(0), call.tensor(1), call.out())]
    if kinds in (["int8"] * 3, ["int16"] * 3):
        names = [_swapped(call, integers(call, i), i, adjoint[i]) for i in (0, 1)]
        product = call.node("MatMul", *names)
        factor = scale_of(call, 0) * scale_of(call, 1) / out_scale(call)
        short = kinds[0] == "int16"
        steps = once(call, product, factor, 15) if short else multiplied(call, product, factor)
        give_steps(call, steps)
        return
    names = []
    for i, swapped in enumerate(adjoint):
        if call.array(i) is None:
            names.append(_swapped(call, call.real(i), i, swapped))
        else:
            names.append(weight(call, i, _axes(call, i, swapped)))
    call.give(call.node("MatMul", *names))


def _kind(tensor: Tensor) -> str:
    """The type of a quantized tensor's numbers."""
    return str(tensor.dtype) if tensor.quantized else ""


def _axes(call: Call, i: int, swapped: bool) -> list[int]:
    axes = [*range(call.rank(i))]
    if swapped:
        axes[-2:] = axes[:-3:-1]
    return axes


def _swapped(call: Call, name: str, i: int, swapped: bool) -> str:
    return call.transposed(name, _axes(call, i, True)) if swapped else name


#: Operator of the source -> converter.
PRODUCT: dict[str, Converter] = {
    "BATCH_MATMUL": batch_matmul,
    "FULLY_CONNECTED": fully_connected,
}
