"""Cases of recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from operator_cases.draw import Draw, generates

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_FUNCTIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
_UNITS = (1, 2, 3, 4, 5, 8, 16, 17, 31, 33)
#: Activation -> whether it takes alpha and beta.
_ACTIVATIONS = {
    "Relu": (0, 0), "Tanh": (0, 0), "Sigmoid": (0, 0), "Affine": (1, 1), "LeakyRelu": (1, 0),
    "ThresholdedRelu": (1, 0), "ScaledTanh": (1, 1), "HardSigmoid": (1, 1), "Elu": (1, 0),
    "Softsign": (0, 0), "Softplus": (0, 0),
}  # fmt: skip


@generates("LSTM", "GRU", "RNN")
def layer(draw: Draw) -> None:
    kind, dtype = draw.operator, draw.dtype()
    # ONNX Runtime has float32 in the first layout alone, onnx's reference none of the extras.
    layout = draw.size(0, 1) if draw.opset >= 14 and draw.chance(0.4) else 0
    plain = dtype != "float32" or layout == 1
    steps, batch, width = draw.size(1, 5), draw.size(1, 9), draw.choose((1, 2, 3, 8, 17))
    units = draw.choose(_UNITS)
    direction = draw.choose(["forward", "reverse", "bidirectional"])
    count, rows = 1 + (direction == "bidirectional"), _GATES[kind] * units

    def tensor(*shape: int) -> str:
        return draw.tensor(draw.array(dtype, shape, -1, 1) / dtype_root(dtype, units))

    x = (batch, steps, width) if layout else (steps, batch, width)
    state = (batch, count, units) if layout else (count, batch, units)
    inputs = [draw.input(draw.array(dtype, x, -2, 2)), tensor(count, rows, width)]
    inputs.append(tensor(count, rows, units))
    inputs.append(tensor(count, 2 * rows) if draw.chance(0.7) else "")
    has_lengths = not plain and draw.chance(0.4)
    lengths = draw.rng.integers(1, steps, batch, "int32", endpoint=True)
    inputs.append(draw.tensor(lengths) if has_lengths else "")
    inputs.append(tensor(*state) if draw.chance(0.5) else "")
    if kind == "LSTM":
        inputs.append(tensor(*state) if draw.chance(0.5) else "")
        inputs.append(tensor(count, 3 * units) if draw.chance(0.5) else "")
    while not inputs[-1]:
        inputs.pop()
    attributes: dict[str, Any] = {"hidden_size": units, "direction": direction}
    if layout:
        attributes["layout"] = 1
    if kind == "GRU":
        attributes |= draw.maybe(linear_before_reset=draw.size(0, 1))
    if not plain:
        attributes |= extras(draw, kind, count)
    draw.node(inputs, draw.size(1, 3 if kind == "LSTM" else 2), **attributes)


@generates("com.microsoft.DynamicQuantizeLSTM")
def dynamic_layer(draw: Draw) -> None:
    steps, batch, width = draw.size(1, 5), draw.size(1, 9), draw.choose((1, 2, 3, 8, 17))
    units = draw.choose(_UNITS)
    direction = draw.choose(["forward", "reverse", "bidirectional"])
    count, columns = 1 + (direction == "bidirectional"), 4 * units

    def tensor(*shape: int) -> str:
        return draw.tensor(draw.array("float32", shape, -1, 1))

    inputs = [draw.input(draw.array("float32", (steps, batch, width), -2, 2))]
    last, dtype = [], draw.choose(["int8", "uint8"])
    for depth in (width, units):
        scales = (count, columns) if draw.chance(0.5) else (count,)
        middle = 128 if dtype == "uint8" else 0
        # Twice 64 * 255 is within 16 bits, which ONNX Runtime adds two products in without VNNI.
        weight = draw.array(dtype, (count, depth, columns), middle - 64, middle + 63)
        inputs.append(draw.constant(weight))
        scale = draw.array("float32", scales, 0.5, 1) / np.float32(64 * np.sqrt(depth))
        last += [draw.constant(scale), draw.constant(np.full(scales, middle, dtype))]
    inputs.append(tensor(count, 2 * columns) if draw.chance(0.7) else "")
    lengths = draw.rng.integers(1, steps, batch, "int32", endpoint=True)
    inputs.append(draw.tensor(lengths) if draw.chance(0.4) else "")
    for shape in ((count, batch, units), (count, batch, units), (count, 3 * units)):
        inputs.append(tensor(*shape) if draw.chance(0.5) else "")
    attributes = {"hidden_size": units, "direction": direction} | extras(draw, "LSTM", count)
    names = draw.node([*inputs, *last], draw.size(1, 3), **attributes)
    draw.case.types |= dict.fromkeys(names, "float32")
    draw.case.tolerance = 1e-4


def dtype_root(dtype: str, units: int) -> Any:
    """What keeps a sum over the units near 1."""
    return np.sqrt(units).astype(dtype)


def extras(draw: Draw, kind: str, directions: int) -> dict[str, Any]:
    """Attributes that change a cell's equations."""
    found = draw.maybe(clip=draw.choose([0.3, 1.0, 5.0])) if draw.chance(0.5) else {}
    if kind == "LSTM":
        found |= draw.maybe(input_forget=draw.size(0, 1))
    if draw.chance(0.5):
        names = [draw.choose(list(_ACTIVATIONS)) for _ in range(_FUNCTIONS[kind] * directions)]
        found["activations"] = names
        for position, name in enumerate(("alpha", "beta")):
            taken = [bool(_ACTIVATIONS[each][position]) for each in names]
            if any(taken):
                numbers = draw.rng.uniform(0.1, 0.9, sum(taken))
                found[f"activation_{name}"] = [float(number) for number in numbers]
    return found
