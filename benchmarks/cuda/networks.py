"""A small network with one operator of each kind that a GPU has kernels for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Channels, and pixels of a side: whole tiles of any tensor core.
_CHANNELS, _SIDE, _WIDE = 64, 28, 256
_HEADS, _TOKENS = 4, _SIDE * _SIDE


def write_kernel_classes(path: Path) -> Path:
    """Write it as ONNX: convolutions, pooling, attention, products, normalization."""
    rng = np.random.default_rng(0)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def weight(name: str, *shape: int) -> str:
        values = rng.normal(scale=1 / np.sqrt(np.prod(shape[1:]) or 1), size=shape)
        weights.append(numpy_helper.from_array(values.astype("f4"), name))
        return name

    def integers(name: str, *values: int) -> str:
        weights.append(numpy_helper.from_array(np.array(values, "i8"), name))
        return name

    def add(op: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [output], f"{output}_node", **attributes))
        return output

    c = _CHANNELS
    x = add("Conv", ["x", weight("w3", c, c, 3, 3), weight("b3", c)], "conv3", pads=[1] * 4)
    x = add("Relu", [x], "relu3")
    y = add("Conv", [x, weight("w1", 2 * c, c, 1, 1), weight("b1", 2 * c)], "conv1")
    y = add("Conv", [y, weight("wd", 2 * c, 1, 3, 3)], "depthwise", group=2 * c, pads=[1] * 4)
    y = add("Conv", [y, weight("wp", c, 2 * c, 1, 1)], "project")
    x = add("Add", [x, y], "residual")
    x = add("MaxPool", [x], "pool", kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    flat = add("Reshape", [x, integers("tokens_shape", 1, c, _TOKENS)], "flat")
    tokens = add("Transpose", [flat], "tokens", perm=[0, 2, 1])
    scale, bias = weight("ln_scale", c), weight("ln_bias", c)
    normal = add("LayerNormalization", [tokens, scale, bias], "normal")
    parts = {}
    heads = integers("heads_shape", 1, _TOKENS, _HEADS, c // _HEADS)
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        product = add("MatMul", [normal, weight(f"w{name}", c, c)], f"{name}_flat")
        split = add("Reshape", [product, heads], f"{name}_heads")
        parts[name] = add("Transpose", [split], name, perm=order)
    scores = add("MatMul", [parts["q"], parts["k"]], "scores")
    shares = add("Softmax", [scores], "shares", axis=-1)
    mixed = add("MatMul", [shares, parts["v"]], "mixed")
    mixed = add("Transpose", [mixed], "mixed_last", perm=[0, 2, 1, 3])
    mixed = add("Reshape", [mixed, integers("joined", 1, _TOKENS, c)], "mixed_flat")
    wide = add("MatMul", [mixed, weight("w_up", c, _WIDE)], "up")
    wide = add("Relu", [wide], "up_relu")
    narrow = add("MatMul", [wide, weight("w_down", _WIDE, c)], "down")
    total = add("Add", [narrow, tokens], "sum")
    means = add("ReduceMean", [total, integers("axes", 1)], "mean", keepdims=0)
    add("MatMul", [means, weight("w_head", c, 16)], "y")
    graph = helper.make_graph(
        nodes,
        "kernel_classes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, c, _SIDE, _SIDE))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 16))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
