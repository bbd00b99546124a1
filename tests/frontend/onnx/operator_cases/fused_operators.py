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


@generates(_MS + "SimplifiedLayerNormalization")
def simplified_normalization(draw: Draw) -> None:
    shape = draw.shape(1, 4)
    axis = draw.size(0, len(shape) - 1)
    inputs = [
        draw.input(draw.array("float32", shape)),
        draw.tensor(draw.array("float32", shape[axis:])),
    ]
    # It is ONNX Runtime's, and yet in the standard's domain.
    outputs = draw.step(draw.operator, inputs, axis=axis, **draw.maybe(epsilon=1e-3))
    draw.give(*outputs)
    draw.case.types |= dict.fromkeys(outputs, "float32")
    draw.case.tolerance = 1e-4


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
    before = draw.size(1, 5) if draw.chance(0.4) else 0
    keys = before + length
    if draw.chance(0.5):
        mask = np.ones((batch, keys), "int32")
        mask[:, draw.size(1, keys) :] = 0
        inputs.append(draw.input(mask))
    else:
        attributes["unidirectional"] = draw.size(0, 1)
        inputs.append("")
    if before:
        inputs.append(draw.input(draw.array("float32", [2, batch, heads, before, size])))
    names = draw.node(inputs, 2 if before else draw.size(1, 2), **attributes)
    draw.case.types |= dict.fromkeys(names, "float32")
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
    inputs.append(draw.tensor(draw.array("float32", [3 * width])) if draw.chance(0.5) else "")
    before = draw.size(1, 5) if draw.chance(0.4) else 0
    if before:
        inputs += ["", ""]
        shape = [batch, heads, before, size]
        inputs += [draw.input(draw.array("float32", shape)) for _ in range(2)]
    names = draw.node(inputs, 3 if before else 1, num_heads=heads, **draw.maybe(scale=0.4))
    draw.case.types |= dict.fromkeys(names, "float32")
    draw.case.tolerance = 1e-4


@generates(_MS + "GroupQueryAttention")
def grouped_attention(draw: Draw) -> None:
    batch, shared, group, size = draw.size(1, 2), draw.size(1, 2), draw.size(1, 3), 16
    heads, new = shared * group, draw.choose([1, 1, 2, 5])
    before = draw.size(1, 6) if draw.chance(0.7) else 0
    if before and new > 1:
        batch = 1  # ONNX Runtime has no more where a prompt goes on
    total = before + new
    # Either all that is past is used, or it is a buffer with room left.
    buffer = before + (draw.size(0, 4) if before and draw.chance(0.5) else 0)
    if buffer > before:
        buffer = total + draw.size(0, 3)
    lengths = np.full(batch, total - 1, "int32")
    if before:
        lengths -= draw.rng.integers(0, before, batch, "int32")
        lengths[0] = total - 1
    widths = [heads * size, shared * size, shared * size]
    if draw.chance(0.3):
        packed = [batch, new, sum(widths)]
        inputs = [draw.input(draw.array("float32", packed)), "", ""]
    else:
        inputs = [draw.input(draw.array("float32", [batch, new, width])) for width in widths]
    past = [batch, shared, buffer, size]
    inputs += [draw.input(draw.array("float32", past)) if before else "" for _ in range(2)]
    inputs += [draw.input(lengths), draw.constant(np.int32([total]))]
    attributes = {"num_heads": heads, "kv_num_heads": shared}
    if draw.chance(0.5):
        angles = draw.array("float32", [total + 3, size // 2], 0, 3)
        inputs += [draw.constant(table) for table in (np.cos(angles), np.sin(angles))]
        attributes |= {"do_rotary": 1} | draw.maybe(rotary_interleaved=draw.size(0, 1))
    attributes |= draw.maybe(scale=0.4, softcap=2.0)
    if draw.chance(0.4):
        inputs += [""] * (10 - len(inputs))
        shape = [draw.choose([1, batch]), draw.choose([1, heads]), new, total]
        inputs.append(draw.input(draw.array("float32", shape)))
        if draw.chance(0.5):
            inputs.append(draw.tensor(draw.array("float32", [heads])))
    if draw.chance(0.4):
        attributes["local_window_size"] = draw.size(1, 4)
    if draw.chance(0.3):
        attributes["smooth_softmax"] = 1
    names = draw.node(inputs, 3, **attributes)
    draw.case.types |= dict.fromkeys(names, "float32")
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
