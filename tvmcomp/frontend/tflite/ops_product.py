"""Products of matrices."""

from __future__ import annotations

from tvmcomp.frontend.tflite.call import Call, Converter
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
    names = []
    for i, swapped in enumerate((options.AdjX(), options.AdjY())):
        axes = [*range(call.rank(i))]
        if swapped:
            axes[-2:] = axes[:-3:-1]
        name = weight(call, i, axes) if call.array(i) is not None else call.real(i)
        if swapped and call.array(i) is None:
            name = call.transposed(name, axes)
        names.append(name)
    call.give(call.node("MatMul", *names))


#: Operator of the source -> converter.
PRODUCT: dict[str, Converter] = {
    "BATCH_MATMUL": batch_matmul,
    "FULLY_CONNECTED": fully_connected,
}
