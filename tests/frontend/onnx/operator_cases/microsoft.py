"""Cases of operators of the com.microsoft domain."""

from __future__ import annotations

import numpy as np

from operator_cases.draw import Draw, generates
from operator_cases.matrices import operands


@generates("com.microsoft.MatMulInteger16")
def product(draw: Draw) -> None:
    tensors = [draw.tensor(draw.array("int16", shape, -200, 200)) for shape in operands(draw)]
    (name,) = draw.node(tensors)
    draw.case.types[name] = "int32"


@generates("com.microsoft.Gelu", "com.microsoft.FastGelu", "com.microsoft.BiasGelu")
def gelu(draw: Draw) -> None:
    shape = draw.shape(1, 4)
    inputs = [draw.input(draw.array("float32", shape))]
    if draw.operator == "BiasGelu" or (draw.operator == "FastGelu" and draw.chance(0.5)):
        inputs.append(draw.tensor(draw.array("float32", shape[-1:])))
    draw.node(inputs)


@generates("com.microsoft.SkipLayerNormalization")
def skip_layer_normalization(draw: Draw) -> None:
    shape = [draw.size(1, 3), draw.size(1, 5), draw.choose([2, 3, 8, 17])]
    inputs = [draw.input(draw.array("float32", shape)) for _ in range(2)]
    inputs.append(draw.tensor(draw.array("float32", shape[2:])))
    for _ in range(draw.size(0, 2)):
        inputs.append(draw.tensor(draw.array("float32", shape[2:])))
    outputs = draw.step(
        draw.operator, inputs, 4 if draw.chance(0.3) else 1, draw.domain, **draw.maybe(epsilon=1e-3)
    )
    draw.give(outputs[0], *outputs[3:])
    draw.case.tolerance = 1e-4


@generates("com.microsoft.EmbedLayerNormalization")
def embed_layer_normalization(draw: Draw) -> None:
    batch, length, width = draw.size(1, 3), draw.size(1, 5), draw.choose([2, 3, 8, 17])
    words, segments = draw.size(2, 9), 2
    ids = draw.input(draw.array("int32", [batch, length], 0, words - 1))
    segmented = draw.chance(0.7)
    inputs = [
        ids,
        draw.input(draw.array("int32", [batch, length], 0, 1)) if segmented else "",
        draw.tensor(draw.array("float32", [words, width])),
        draw.tensor(draw.array("float32", [length + 2, width])),
        draw.tensor(draw.array("float32", [segments, width])) if segmented else "",
        draw.tensor(draw.array("float32", [width])),
        draw.tensor(draw.array("float32", [width])),
    ]
    masked = draw.chance(0.5)
    if masked:
        mask = np.sort(draw.array("int32", [batch, length], 0, 1))[:, ::-1].copy()
        inputs.append(draw.input(mask))
    names = draw.node(inputs, 2, **draw.maybe(epsilon=1e-3))
    draw.case.types[names[0]] = "float32"
    draw.case.tolerance = 1e-4
    if not masked:
        draw.case.outputs.remove(names[1])  # then it is undefined
