"""Small ONNX networks at random, by the kind of operator that they are about.

Each kind draws its sizes, strides, groups, axes and modes from a generator: tails, odd channels and
borders come up by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Draw:
    """A network that is being drawn.

    Attributes:
        rng: chooses.
        inputs: name -> array.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs: dict[str, np.ndarray] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def number(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def numbers(self, count: int, low: int, high: int) -> list[int]:
        """Some of them."""
        return [self.number(low, high) for _ in range(count)]

    def one_of(self, *values: Any) -> Any:
        """One of ``values``."""
        return values[self.number(0, len(values) - 1)]

    def input(self, *shape: int) -> str:
        """An input of normal numbers."""
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.rng.standard_normal(shape).astype(np.float32)
        return name

    def weight(self, *shape: int, scale: float | None = None) -> str:
        """A constant, whose products are about as large as what they multiply."""
        size = float(np.prod(shape[1:])) or 1.0
        values = self.rng.standard_normal(shape) * (size**-0.5 if scale is None else scale)
        return self.constant(values.astype(np.float32))

    def constant(self, values: Any) -> str:
        """A constant of these values."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def integers(self, *values: int) -> str:
        """A constant of shapes, axes or the like."""
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """A node; gives the name of its first output."""
        own = f"t{len(self.nodes)}"
        names = [own, *(f"{own}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return own

    def model(self, *results: str) -> onnx.ModelProto:
        """The network whose outputs are ``results``."""
        given = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
            for name, array in self.inputs.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in results]
        graph = helper.make_graph(self.nodes, "drawn", given, outputs, self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        made.ir_version = 9
        inferred = onnx.shape_inference.infer_shapes(made, strict_mode=True)
        return inferred


def epilogue(draw: Draw, x: str, channels: int, rank: int) -> str:
    """What often follows an anchor: a bias, a scale, an activation."""
    shape = (1, channels, *(1,) * (rank - 2))
    if draw.number(0, 1):
        x = draw.add("Add", x, draw.weight(*shape, scale=0.5))
    op = draw.one_of("Relu", "Sigmoid", "HardSwish", "LeakyRelu", "Tanh", "Clip", None)
    if op == "Clip":
        low, high = (draw.constant(np.float32(v)) for v in (-1.0, 1.5))
        return draw.add("Clip", x, low, high)
    return draw.add(op, x) if op else x


def convolution(draw: Draw, rank: int = 2, groups: int | None = None) -> str:
    """Of 1, 2 or 3 dimensions."""
    groups = groups or draw.one_of(1, 1, 2, 3)
    kernel, strides = draw.numbers(rank, 1, 3), draw.numbers(rank, 1, 2)
    dilations, pads = draw.numbers(rank, 1, 2), draw.numbers(2 * rank, 0, 2)
    sizes = [(k - 1) * d + 1 + draw.number(0, 6) for k, d in zip(kernel, dilations, strict=True)]
    channels = groups * draw.one_of(1, 3, 4, 8, 16, 20)
    out = groups * draw.one_of(1, 5, 16, 24, 33)
    x = draw.input(draw.number(1, 2), channels, *sizes)
    weight = draw.weight(out, channels // groups, *kernel)
    how = {"strides": strides, "dilations": dilations, "pads": pads, "group": groups}
    return epilogue(draw, draw.add("Conv", x, weight, **how), out, rank + 2)


def depthwise(draw: Draw) -> str:
    """Each channel by itself, then all together."""
    channels = draw.one_of(3, 8, 12, 17, 40)
    kernel, strides = draw.numbers(2, 1, 5), draw.numbers(2, 1, 3)
    x = draw.input(1, channels, *(k + draw.number(0, 8) for k in kernel))
    pads = draw.numbers(4, 0, 2)
    times = draw.one_of(1, 1, 2)
    weight = draw.weight(channels * times, 1, *kernel)
    x = draw.add("Conv", x, weight, strides=strides, pads=pads, group=channels)
    x = epilogue(draw, x, channels * times, 4)
    return draw.add("Conv", x, draw.weight(draw.one_of(4, 9, 32), channels * times, 1, 1))


def transposed(draw: Draw) -> str:
    """A transposed convolution of 1 or 2 dimensions."""
    rank = draw.number(1, 2)
    groups = draw.one_of(1, 1, 2)
    kernel, strides = draw.numbers(rank, 1, 4), draw.numbers(rank, 1, 3)
    pads = [min(k - 1, draw.number(0, 1)) for k in kernel] * 2
    output = [draw.number(0, s - 1) for s in strides]
    channels, out = groups * draw.one_of(3, 8, 16), groups * draw.one_of(2, 5, 16)
    x = draw.input(1, channels, *draw.numbers(rank, 3, 7))
    weight = draw.weight(channels, out // groups, *kernel)
    how = {"strides": strides, "pads": pads, "group": groups, "output_padding": output}
    return epilogue(draw, draw.add("ConvTranspose", x, weight, **how), out, rank + 2)


def product(draw: Draw) -> str:
    """By a constant matrix."""
    rows, depth, columns = draw.numbers(3, 1, 70)
    batch = draw.one_of((), (2,), (2, 3))
    x = draw.input(*batch, rows, depth)
    if not batch and draw.number(0, 1):
        weight = draw.weight(columns, depth)
        x = draw.add("Gemm", x, weight, draw.weight(columns), transB=1, alpha=0.5)
    else:
        x = draw.add("MatMul", x, draw.weight(depth, columns, scale=depth**-0.5))
    x = draw.add(draw.one_of("Relu", "Tanh", "Identity"), x) if draw.number(0, 1) else x
    return x


def batched_product(draw: Draw) -> str:
    """Of two computed tensors."""
    batch = draw.one_of((1,), (3,), (2, 3))
    rows, depth, columns = draw.numbers(3, 1, 50)
    left = draw.input(*batch, rows, depth)
    right = draw.input(*(1 if draw.number(0, 3) == 0 else n for n in batch), depth, columns)
    return draw.add("MatMul", draw.add("Tanh", left), right)


def attention(draw: Draw) -> str:
    """Of some heads, with or without a mask."""
    heads, each = draw.one_of(1, 2, 3), draw.one_of(8, 16, 20, 32)
    tokens, batch = draw.number(2, 40), draw.number(1, 2)
    width = heads * each
    x = draw.input(batch, tokens, width)
    parts = {}
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        flat = draw.add("MatMul", x, draw.weight(width, width, scale=width**-0.5))
        split = draw.add("Reshape", flat, draw.integers(batch, tokens, heads, each))
        parts[name] = draw.add("Transpose", split, perm=order)
    scores = draw.add("MatMul", parts["q"], parts["k"])
    scores = draw.add("Mul", scores, draw.constant(np.float32(each**-0.5)))
    if draw.number(0, 1):
        mask = np.where(np.tri(tokens, dtype=bool), 0, -1e9).astype(np.float32)
        scores = draw.add("Add", scores, draw.constant(mask))
    mixed = draw.add("MatMul", draw.add("Softmax", scores, axis=-1), parts["v"])
    mixed = draw.add("Transpose", mixed, perm=[0, 2, 1, 3])
    mixed = draw.add("Reshape", mixed, draw.integers(batch, tokens, width))
    return draw.add("MatMul", mixed, draw.weight(width, draw.number(1, 40), scale=width**-0.5))


def pooling(draw: Draw) -> str:
    """Largest and average values of windows."""
    kernel, strides = draw.numbers(2, 1, 3), draw.numbers(2, 1, 3)
    pads = [min(k - 1, draw.number(0, 1)) for k in kernel] * 2
    x = draw.input(draw.number(1, 2), draw.one_of(3, 8, 13), *draw.numbers(2, 4, 11))
    op = draw.one_of("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
    if op.startswith("Global"):
        return draw.add(op, draw.add("Relu", x))
    how: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    how["ceil_mode"] = draw.number(0, 1)
    if op == "AveragePool":
        how |= {"count_include_pad": draw.number(0, 1), "ceil_mode": 0}
    return draw.add(op, x, **how)


def softmax(draw: Draw) -> str:
    """Along any axis."""
    shape = draw.numbers(draw.number(2, 4), 1, 12)
    shape[-1] = draw.number(1, 300)
    axis = draw.number(-len(shape), len(shape) - 1)
    return draw.add(draw.one_of("Softmax", "LogSoftmax"), draw.input(*shape), axis=axis)


def normalization(draw: Draw) -> str:
    """Of layers, instances, groups and batches."""
    kind = draw.number(0, 3)
    if kind == 0:
        shape = draw.numbers(draw.number(2, 3), 1, 9)
        shape.append(draw.number(2, 200))
        scale, bias = draw.weight(shape[-1]), draw.weight(shape[-1])
        return draw.add("LayerNormalization", draw.input(*shape), scale, bias, axis=-1)
    channels = 4 * draw.number(1, 5)
    x = draw.input(draw.number(1, 2), channels, *draw.numbers(2, 2, 9))
    scale, bias = draw.weight(channels), draw.weight(channels)
    if kind == 1:
        return draw.add("InstanceNormalization", x, scale, bias)
    if kind == 2:
        mean, variance = draw.weight(channels), draw.constant(np.full(channels, 0.5, np.float32))
        return draw.add("BatchNormalization", x, scale, bias, mean, variance)
    squares = draw.add("Mul", x, x)
    mean = draw.add("ReduceMean", squares, draw.integers(1), keepdims=1)
    root = draw.add("Sqrt", draw.add("Add", mean, draw.constant(np.float32(1e-5))))
    return draw.add("Div", x, root)


def reduction(draw: Draw) -> str:
    """Along some axes."""
    rank = draw.number(1, 4)
    shape = [draw.one_of(1, 3, 8, 17, 40) for _ in range(rank)]
    axes = sorted({draw.number(0, rank - 1) for _ in range(draw.number(1, rank))})
    x = draw.input(*shape)
    keep = draw.number(0, 1)
    op = draw.one_of(
        *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceLogSumExp"),
        *("ReduceL1", "ReduceSumSquare", "ArgMax", "ArgMin", "CumSum"),
    )
    if op.startswith("Arg"):
        return draw.add(op, x, axis=axes[0], keepdims=keep)
    if op == "CumSum":
        return draw.add(op, x, draw.constant(np.int64(axes[0])))
    return draw.add(op, draw.add("Abs", x), draw.integers(*axes), keepdims=keep)


def chain(draw: Draw) -> str:
    """Element-wise operators, with broadcast operands."""
    shape = draw.numbers(draw.number(1, 4), 1, 12)
    x = draw.input(*shape)
    for _ in range(draw.number(2, 7)):
        op = draw.one_of("Add", "Mul", "Sub", "Max", "Erf", "Sigmoid", "Tanh", "Abs", "Softplus")
        if op in ("Add", "Mul", "Sub", "Max"):
            other = [1 if draw.number(0, 2) == 0 else n for n in shape]
            y = draw.input(*other) if draw.number(0, 1) else draw.weight(*other, scale=1.0)
            x = draw.add(op, x, y)
        else:
            x = draw.add(op, x)
    return x


def moves(draw: Draw) -> str:
    """Concat, Split, Slice, Pad, Transpose, Gather: nothing is computed."""
    shape = draw.numbers(4, 2, 9)
    x, y = draw.input(*shape), draw.input(*shape)
    axis = draw.number(0, 3)
    x = draw.add("Concat", draw.add("Relu", x), y, axis=axis)
    shape[axis] *= 2
    at = draw.number(0, 3)
    if shape[at] > 2:
        ends = (draw.integers(1), draw.integers(shape[at]), draw.integers(at), draw.integers(1))
        x = draw.add("Slice", x, *ends)
        shape[at] -= 1
    pads = draw.numbers(8, 0, 1)
    mode = draw.one_of("constant", "edge", "reflect")
    x = draw.add("Pad", x, draw.integers(*pads), mode=mode)
    order = [int(i) for i in draw.rng.permutation(4)]
    x = draw.add("Transpose", x, perm=order)
    return draw.add("Gather", x, draw.integers(1, 0, 1), axis=draw.number(0, 3))


def resize(draw: Draw) -> str:
    """Images made larger or smaller."""
    shape = [1, draw.one_of(3, 8), *draw.numbers(2, 3, 8)]
    mode = draw.one_of("nearest", "linear", "cubic")
    how = draw.one_of("asymmetric", "half_pixel", "align_corners")
    sizes = draw.integers(*shape[:2], *draw.numbers(2, 2, 15))
    nearest = {"nearest_mode": "floor"} if mode == "nearest" else {}
    x = draw.add("Relu", draw.input(*shape))
    return draw.add(
        "Resize", x, "", "", sizes, mode=mode, coordinate_transformation_mode=how, **nearest
    )


def recurrent(draw: Draw) -> str:
    """LSTM, GRU or RNN, with some of what the standard lets them have."""
    kind, gates = draw.one_of(("LSTM", 4), ("GRU", 3), ("RNN", 1))
    steps, batch, inputs, units = draw.number(1, 4), draw.number(1, 2), *draw.numbers(2, 2, 20)
    direction = draw.one_of("forward", "reverse", "bidirectional")
    count = 2 if direction == "bidirectional" else 1
    given = [
        draw.input(steps, batch, inputs),
        draw.weight(count, gates * units, inputs, scale=inputs**-0.5),
        draw.weight(count, gates * units, units, scale=units**-0.5),
        draw.weight(count, 2 * gates * units, scale=0.5),
    ]
    how = {"linear_before_reset": draw.number(0, 1)} if kind == "GRU" else {}
    odd = draw.number(0, 3)
    if odd == 0:
        lengths = draw.rng.integers(1, steps + 1, batch).astype(np.int32)
        given += [draw.constant(lengths), draw.input(count, batch, units)]
    if odd == 1 and kind == "LSTM":
        given += ["", "", draw.input(count, batch, units), draw.weight(count, 3 * units)]
    if odd == 2:
        how["clip"] = 0.5
    if odd == 3 and kind == "RNN":
        how["activations"] = ["Softsign", "Elu"][:count]
    return draw.add(kind, *given, hidden_size=units, direction=direction, outputs=2, **how)


def block(draw: Draw) -> str:
    """A small network: convolutions, a gate, a residual, a pool, a classifier."""
    channels = draw.one_of(6, 8, 16)
    x = draw.input(1, 3, 9, 9)
    x = draw.add("Conv", x, draw.weight(channels, 3, 3, 3), pads=[1] * 4, strides=[2, 2])
    x = draw.add("Relu", x)
    y = draw.add("Conv", x, draw.weight(channels, 1, 3, 3), pads=[1] * 4, group=channels)
    gate = draw.add("GlobalAveragePool", y)
    gate = draw.add("Sigmoid", draw.add("Conv", gate, draw.weight(channels, channels, 1, 1)))
    y = draw.add("Mul", y, gate)
    y = draw.add("Conv", y, draw.weight(channels, channels, 1, 1))
    x = draw.add("Concat", draw.add("Add", x, y), x, axis=1)
    x = draw.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = draw.add("Flatten", draw.add("GlobalAveragePool", x))
    return draw.add("Gemm", x, draw.weight(10, 2 * channels), draw.weight(10), transB=1)


#: Name -> what draws a network of that kind, and gives the name of its output.
KINDS: dict[str, Callable[[Draw], str]] = {
    "convolution": convolution,
    "depthwise": depthwise,
    "one dimension": lambda draw: convolution(draw, 1),
    "three dimensions": lambda draw: convolution(draw, 3),
    "groups": lambda draw: convolution(draw, 2, 4),
    "transposed": transposed,
    "product": product,
    "batched product": batched_product,
    "attention": attention,
    "pooling": pooling,
    "softmax": softmax,
    "normalization": normalization,
    "reduction": reduction,
    "chain": chain,
    "moves": moves,
    "resize": resize,
    "recurrent": recurrent,
    "network": block,
}
