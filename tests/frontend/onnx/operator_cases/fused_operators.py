"""Cases of what ONNX Runtime's optimizer fuses."""

from __future__ import annotations

import numpy as np

from operator_cases.draw import Draw, generates
from operator_cases.windows import _geometry, _image

_MS = "com.microsoft."
_ACTIVATIONS = {
    "": [], "Relu": [], "Tanh": [], "Sigmoid": [], "LeakyRelu": [0.2], "Clip": [-0.5, 2.0],
    "HardSigmoid": [0.3, 0.4],
}  # fmt: skip


@generates(_MS + "FusedConv")
def convolution(draw: Draw) -> None:
    kernel = [draw.choose([1, 2, 3]) for _ in range(2)]
    attributes = _geometry(draw, 2, kernel)
    image = _image(draw, 2, kernel, attributes)
    inner, outer = draw.choose([1, 2, 5]), draw.choose([1, 2, 4])
    inputs = [
        draw.input(draw.array("float32", [draw.size(1, 2), inner, *image])),
        draw.constant(draw.array("float32", [outer, inner, *kernel], -1, 1)),
        draw.constant(draw.array("float32", [outer])),
    ]
    name = draw.choose([name for name in _ACTIVATIONS if name])
    parameters = {"activation_params": _ACTIVATIONS[name]} if _ACTIVATIONS[name] else {}
    draw.node(inputs, activation=name, **parameters, **attributes)


@generates(_MS + "FusedGemm")
def gemm(draw: Draw) -> None:
    m, k, n = (int(draw.choose((1, 2, 3, 5, 8, 17))) for _ in range(3))
    shapes = [m, k], [k, n], [n]
    inputs = [draw.tensor(draw.array("float32", shape)) for shape in shapes]
    name = draw.choose(["Relu", "LeakyRelu", "Sigmoid", "Tanh"])
    alpha = {"activation_alpha": 0.2} if name == "LeakyRelu" else {}
    draw.node(inputs, activation=name, **alpha, **draw.maybe(alpha=0.5, beta=2.0))


@generates(_MS + "FusedMatMul")
def product(draw: Draw) -> None:
    m, k, n = (int(draw.choose((1, 2, 3, 5, 8, 17))) for _ in range(3))
    batch = draw.shape(0, 2, (1, 2, 3))
    flips = draw.maybe(transA=draw.size(0, 1), transB=draw.size(0, 1))
    left = [*batch, k, m] if flips.get("transA") else [*batch, m, k]
    right = [*batch, n, k] if flips.get("transB") else [*batch, k, n]
    inputs = [draw.tensor(draw.array("float32", shape)) for shape in (left, right)]
    draw.node(inputs, **flips, **draw.maybe(alpha=0.5))


@generates(_MS + "QuickGelu")
def quick_gelu(draw: Draw) -> None:
    draw.node([draw.input(draw.array("float32", draw.shape(1)))], **draw.maybe(alpha=1.3))


@generates(_MS + "SkipSimplifiedLayerNormalization")
def skip_normalization(draw: Draw) -> None:
    shape = [draw.size(1, 3), draw.size(1, 5), draw.choose([2, 3, 8, 17])]
    inputs = [draw.input(draw.array("float32", shape)) for _ in range(2)]
    inputs += [draw.tensor(draw.array("float32", shape[2:])) for _ in range(draw.size(1, 2))]
    outputs = draw.step(draw.operator, inputs, 4 if draw.chance(0.3) else 1, draw.domain,
                        epsilon=1e-3)  # fmt: skip
    draw.give(outputs[0], *outputs[3:])
    draw.case.tolerance = 1e-4


@generates("Attention")
def standard_attention(draw: Draw) -> None:
    batch, queries, keys = draw.size(1, 2), draw.size(1, 4), draw.size(2, 6)
    shared, group, size = draw.size(1, 2), draw.size(1, 3), 4
    heads = shared * group
    flat = draw.chance(0.4)
    attributes = draw.maybe(scale=0.4, is_causal=1, softcap=2.0)
    shapes = [[batch, heads, queries, size], *[[batch, shared, keys, size]] * 2]
    if flat:
        shapes = [[batch, s[2], s[1] * size] for s in shapes]
        attributes |= {"q_num_heads": heads, "kv_num_heads": shared}
    inputs = [draw.input(draw.array("float32", shape)) for shape in shapes]
    if draw.chance(0.5):
        dtype = draw.choose(["bool", "float32"])
        shape = draw.choose([[queries, keys], [batch, 1, queries, keys]])
        mask = draw.array(dtype, shape)
        if dtype == "bool":
            mask[..., 0] = True
        inputs.append(draw.input(mask))
    draw.node(inputs, **attributes)
    draw.case.tolerance = 1e-4


@generates(_MS + "Attention")
def attention(draw: Draw) -> None:
    batch, length, heads, size = draw.size(1, 2), draw.size(1, 6), draw.size(1, 3), 4
    width = heads * size
    inputs = [
        draw.input(draw.array("float32", [batch, length, width])),
        draw.tensor(draw.array("float32", [width, 3 * width], -1, 1)),
        draw.tensor(draw.array("float32", [3 * width])),
    ]
    attributes = {"num_heads": heads}
    if draw.chance(0.5):
        mask = np.ones((batch, length), "int32")
        mask[:, draw.size(1, length) :] = 0
        inputs.append(draw.input(mask))
    elif draw.chance(0.5):
        attributes["unidirectional"] = 1
    draw.node(inputs, **attributes)
    draw.case.tolerance = 1e-4


@generates(_MS + "MultiHeadAttention")
def heads_attention(draw: Draw) -> None:
    batch, queries, keys = draw.size(1, 2), draw.size(1, 6), draw.size(1, 6)
    heads, size = draw.size(1, 3), 4
    width = heads * size
    inputs = [
        draw.input(draw.array("float32", [batch, length, width]))
        for length in (queries, keys, keys)
    ]
    if draw.chance(0.5):
        inputs.append(draw.tensor(draw.array("float32", [3 * width])))
    draw.node(inputs, num_heads=heads, **draw.maybe(scale=0.4))
    draw.case.tolerance = 1e-4


@generates(_MS + "RotaryEmbedding")
def rotary(draw: Draw) -> None:
    batch, heads, length, size = draw.size(1, 2), draw.size(1, 3), draw.size(1, 5), 8
    most = length + 3
    angles = draw.array("float32", [most, size // 2], 0, 3)
    shape = [batch, length, heads * size] if draw.chance(0.5) else [batch, heads, length, size]
    positions = draw.array("int64", [batch, length], 0, most - 1)
    if draw.chance(0.5):
        positions = draw.array("int64", [1], 0, 2)
    inputs = [draw.input(draw.array("float32", shape)), draw.input(positions)]
    inputs += [draw.constant(table) for table in (np.cos(angles), np.sin(angles))]
    draw.node(inputs, **draw.maybe(interleaved=draw.size(0, 1)))
    draw.case.tolerance = 1e-4
