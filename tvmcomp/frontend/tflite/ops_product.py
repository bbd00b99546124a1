"""Products of matrices."""

from __future__ import annotations

import numpy as np

from tvmcomp.frontend.tflite.call import Call, Converter
from tvmcomp.frontend.tflite.fixed_point import (
    give_steps,
    integers,
    multiplied,
    out_scale,
    scale_of,
)
from tvmcomp.frontend.tflite.network import Tensor
from tvmcomp.frontend.tflite.weights import bias, weight


def fully_connected(call: Call) -> None:
    """FULLY_CONNECTED: weights OI; without ``keep_num_dims`` the data is made a matrix."""
    options = call.options("FullyConnectedOptions")
    if options.WeightsFormat():
        raise ValueError("its weights are shuffled for one CPU; convert the model again")
    data, depth = call.real(0), call.static(1)[-1]
    if not options.KeepNumDims() and (call.tensor(0).shape is None or call.rank(0) != 2):
        data = call.requantized(call.node("Reshape", data, call.w.ints([-1, depth])), 0)
    result = call.node("MatMul", data, weight(call, 1, [1, 0]))
    if call.has(2):
        result = call.node("Add", result, bias(call, 2, call.tensor(0), call.tensor(1)))
    call.give(call.activated(result, options.FusedActivationFunction()))


def batch_matmul(call: Call) -> None:
    """BATCH_MATMUL; ``adj`` swaps the last two axes."""
    options = call.options("BatchMatMulOptions")
    adjoint = (options.AdjX(), options.AdjY())
    if all(tensor.quantized and tensor.dtype == np.int8 for tensor in _operands(call)):
        names = [_swapped(call, integers(call, i), i, adjoint[i]) for i in (0, 1)]
        factor = scale_of(call, 0) * scale_of(call, 1) / out_scale(call)
        give_steps(call, multiplied(call, call.node("MatMul", *names), factor))
        return
    names = []
    for i, swapped in enumerate(adjoint):
        if call.array(i) is None:
            names.append(_swapped(call, call.real(i), i, swapped))
        else:
            names.append(weight(call, i, _axes(call, i, swapped)))
    call.give(call.node("MatMul", *names))


def _operands(call: Call) -> list[Tensor]:
    """Both sides and the product."""
    return [call.tensor(0), call.tensor(1), call.out()]


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
