"""Random networks of all that ties channels: for tests of groups, of cutting and of repair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from networks import NetworkWriter

from tvmcomp.compress.original import read_original

SIZE, CHANNELS = 6, 3


class Drawn:
    """A network that is drawn block by block: images ``[1, C, S, S]`` first, rows ``[1, T, C]``
    then."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.net = NetworkWriter(seed)
        self.x, self.channels, self.size = "x", CHANNELS, SIZE

    def even(self, low: int = 2, high: int = 6) -> int:
        return 2 * int(self.random.integers(low, high + 1))

    def vector(self, *shape: int) -> str:
        return self.net.constant((1 + 0.3 * self.random.standard_normal(shape)).astype("float32"))

    def ints(self, *values: int) -> str:
        return self.net.constant(np.array(values, np.int64))

    def activation(self, x: str) -> str:
        kind = self.random.choice(["Relu", "HardSwish", "Sigmoid", "Tanh", "Softplus", "PRelu"])
        if kind == "PRelu":
            return self.net.op("PRelu", x, self.vector(self.channels, 1, 1))
        return self.net.op(str(kind), x)

    def conv(self, x: str, out: int, inputs: int, kernel: int = 3, group: int = 1) -> str:
        pads = [kernel // 2] * 4
        return self.net.conv(x, (out, inputs // group), (kernel, kernel), pads=pads, group=group)


def plain(d: Drawn) -> None:
    out = d.even()
    d.x, d.channels = d.conv(d.x, out, d.channels, int(d.random.choice([1, 3]))), out
    d.x = d.activation(d.x)


def normalized(d: Drawn) -> None:
    plain(d)
    shape = (d.channels,)
    variance = d.net.constant((0.5 + d.random.random(shape)).astype("float32"))
    d.x = d.net.op("BatchNormalization", d.x, *(d.vector(*shape) for _ in range(3)), variance)
    d.x = d.net.op("Add", d.net.op("Mul", d.x, d.vector(1, *shape, 1, 1)), d.vector(*shape, 1, 1))


def depthwise(d: Drawn) -> None:
    times = int(d.random.choice([1, 1, 2]))
    d.x = (
        d.activation(d.conv(d.x, d.channels * times, d.channels, group=d.channels))
        if (times == 1)
        else d.conv(d.x, d.channels * times, d.channels, group=d.channels)
    )
    d.channels *= times


def residual(d: Drawn) -> None:
    kept, channels = d.x, d.channels
    plain(d)
    d.x, d.channels = d.net.op("Add", kept, d.conv(d.x, channels, d.channels)), channels


def dense(d: Drawn) -> None:
    kept, channels = d.x, d.channels
    plain(d)
    d.x, d.channels = d.net.op("Concat", kept, d.x, axis=1), channels + d.channels


def halves(d: Drawn) -> None:
    """Split in two (by Split or Slice), one part convolved, and joined."""
    if d.channels % 2:
        plain(d)
    half = d.channels // 2
    first, second = f"{d.x}.first", f"{d.x}.second"
    if d.random.random() < 0.5:
        d.net.nodes.append(
            onnx.helper.make_node(
                "Split", [d.x, d.ints(half, half)], [first, second], name=f"{d.x}.split", axis=1
            )
        )
    else:
        for name, ends in ((first, (0, half)), (second, (half, 2**40))):
            settings = [d.ints(end) for end in (*ends, 1)]
            d.net.op("Slice", d.x, *settings, name=name)
    second = d.conv(second, half, half, 1)
    d.x = d.net.op("Concat", first, second, axis=1)


def shuffle(d: Drawn) -> None:
    """A grouped convolution, and its channels mixed between the groups."""
    groups = 2
    if d.channels % (2 * groups):
        out = 4 * int(d.random.integers(1, 4))
        d.x, d.channels = d.conv(d.x, out, d.channels, 1), out
    d.x = d.conv(d.x, d.channels, d.channels, 1, group=groups)
    size, each = d.size, d.channels // groups
    apart = d.net.op("Reshape", d.x, d.ints(1, groups, each, size, size))
    swapped = d.net.op("Transpose", apart, perm=[0, 2, 1, 3, 4])
    d.x = d.net.op("Reshape", swapped, d.ints(1, d.channels, size, size))
    if d.random.random() < 0.5:
        d.x = d.conv(d.x, d.channels, d.channels, 3, group=groups)


def gated(d: Drawn) -> None:
    """Squeeze and excite, by convolutions or by products of rows."""
    few = d.even(1, 3)
    pooled = d.net.op("GlobalAveragePool", d.x)
    if d.random.random() < 0.5:
        gate = d.conv(d.net.op("Relu", d.conv(pooled, few, d.channels, 1)), d.channels, few, 1)
    else:
        row = d.net.op("Flatten", pooled)
        row = d.net.op("Relu", d.net.op("MatMul", row, d.net.weight(d.channels, few)))
        row = d.net.op("Gemm", row, d.net.weight(d.channels, few), d.vector(d.channels), transB=1)
        gate = d.net.op("Reshape", row, d.ints(1, d.channels, 1, 1))
    d.x = d.net.op("Mul", d.x, d.net.op("Sigmoid", gate))


def transposed(d: Drawn) -> None:
    kind = d.random.choice(["full", "depthwise", "grouped"])
    if kind == "grouped" and d.channels % 2:
        plain(d)
    group = {"full": 1, "depthwise": d.channels, "grouped": 2}[str(kind)]
    out = d.channels if kind == "depthwise" else d.even()
    weight = d.net.weight(d.channels, out // group, 3, 3)
    d.x = d.net.op(
        "ConvTranspose", d.x, weight, d.vector(out), group=group, pads=[1] * 4, strides=[1, 1]
    )
    d.channels = out


def pixels(d: Drawn) -> None:
    """Space to depth and back, in one operator or by reshaping."""
    small, out = d.size // 2, 4 * d.even(1, 2)
    deep = d.net.op("SpaceToDepth", d.x, blocksize=2)
    deep = d.conv(deep, out, 4 * d.channels, 1)
    few = out // 4
    way = d.random.choice(["DCR", "CRD", "reshape"])
    if way == "reshape":
        apart = d.net.op("Reshape", deep, d.ints(1, few, 2, 2, small, small))
        mixed = d.net.op("Transpose", apart, perm=[0, 1, 4, 2, 5, 3])
        d.x = d.net.op("Reshape", mixed, d.ints(1, few, d.size, d.size))
    else:
        d.x = d.net.op("DepthToSpace", deep, blocksize=2, mode=str(way))
    d.channels = few


def widened(d: Drawn) -> None:
    """Zeros beside the channels, as where a residual gets wider."""
    d.x = d.net.op("Pad", d.x, d.ints(0, 1, 0, 0, 0, 2, 0, 0))
    d.channels += 3


def permuted(d: Drawn) -> None:
    order = d.ints(*d.random.permutation(d.channels))
    d.x = d.net.op("Gather", d.x, order, axis=1)


def shared(d: Drawn) -> None:
    """A weight and a bias that two convolutions read."""
    weight, bias = d.net.weight(d.channels, d.channels, 3, 3), d.vector(d.channels)
    for _ in range(2):
        d.x = d.activation(d.net.op("Conv", d.x, weight, bias, pads=[1] * 4))


def apart(d: Drawn, x: str, sizes: Sequence[int], axis: int) -> list[str]:
    """Parts of an axis, by Split."""
    parts = [f"{x}.part{i}" for i in range(len(sizes))]
    d.net.nodes.append(
        onnx.helper.make_node("Split", [x, d.ints(*sizes)], parts, name=f"{x}.split", axis=axis)
    )
    return parts


def one_alone(d: Drawn) -> None:
    """One channel, by Split, Slice or Gather, is a gate of all, or squeezed: it can't go."""
    kind = d.random.choice(["split", "slice", "gather"])
    if kind == "split":
        one, _ = apart(d, d.x, (1, d.channels - 1), 1)
    elif kind == "slice":
        one = d.net.op("Slice", d.x, d.ints(1), d.ints(2), d.ints(1))
    else:
        one = d.net.op("Gather", d.x, d.ints(d.channels - 1), axis=1)
    if d.random.random() < 0.5:
        one = d.net.op("Unsqueeze", d.net.op("Squeeze", one, d.ints(1)), d.ints(1))
    d.x = d.net.op("Mul", d.x, d.net.op("Sigmoid", one))


def exchanged(d: Drawn) -> None:
    """Two parts that are read alike, one of them by a window, which needs some channel."""
    first, second = apart(d, d.x, (2, d.channels - 2), 1)
    first = d.net.op("MaxPool", first, kernel_shape=[3, 3], pads=[1] * 4)
    d.x = d.net.op("Concat", second, first, axis=1)


def tied_groups(d: Drawn) -> None:
    """Convolutions of three groups and of four beside each other: their channels are one."""
    d.x, d.channels = d.conv(d.x, 12, d.channels, 1), 12
    d.x = d.net.op("Add", d.conv(d.x, 12, 12, group=3), d.conv(d.x, 12, 12, group=4))


def resized(d: Drawn) -> None:
    pooled = d.net.op("MaxPool", d.x, kernel_shape=[2, 2], strides=[2, 2])
    scales = d.net.constant(np.array([1, 1, 2, 2], "float32"))
    d.x = d.net.op("Resize", pooled, "", scales, mode="nearest")


def repeated(d: Drawn) -> None:
    """Channels twice, by Tile, and a mean of each over the image, by Expand."""
    pooled = d.net.op("GlobalAveragePool", d.x)
    spread = d.net.op("Expand", pooled, d.ints(1, d.channels, d.size, d.size))
    d.x = d.net.op("Tile", d.net.op("Sub", d.x, spread), d.ints(1, 2, 1, 1))
    d.channels *= 2


IMAGE_BLOCKS: tuple[Callable[[Drawn], None], ...] = (
    plain, normalized, depthwise, residual, dense, halves, shuffle, gated, transposed, pixels,
    widened, permuted, shared, one_alone, exchanged, tied_groups, resized, repeated,
)  # fmt: skip


def to_rows(d: Drawn) -> None:
    """``[1, C, S, S]`` to ``[1, S S, C]``."""
    d.x = d.net.op("Reshape", d.x, d.ints(1, d.channels, d.size * d.size))
    d.x = d.net.op("Transpose", d.x, perm=[0, 2, 1])


def linear(d: Drawn, x: str, inputs: int, out: int) -> str:
    product = d.net.op("MatMul", x, d.net.constant(weights(d, inputs, out)))
    return d.net.op("Add", product, d.vector(out))


def weights(d: Drawn, *shape: int) -> np.ndarray:
    return (d.random.standard_normal(shape) / np.sqrt(shape[-2])).astype("float32")


def feed_forward(d: Drawn) -> None:
    inner = d.even(4, 8)
    wide = d.net.op("Tanh", linear(d, d.x, d.channels, inner))
    d.x = d.net.op("Add", d.x, linear(d, wide, inner, d.channels))
    d.x = d.net.op("LayerNormalization", d.x, d.vector(d.channels), d.vector(d.channels), axis=-1)


def heads(d: Drawn) -> None:
    """Attention of some heads; query, key and value by one product or by three, taken out of the
    one by Gather or by Split."""
    number, size, rows = int(d.random.integers(2, 5)), d.even(1, 3), d.size * d.size
    width = number * size

    def by_head(x: str) -> str:
        return d.net.op(
            "Transpose", d.net.op("Reshape", x, d.ints(1, rows, number, size)), perm=[0, 2, 1, 3]
        )

    if d.random.random() < 0.5:
        parts = [by_head(linear(d, d.x, d.channels, width)) for _ in range(3)]
    else:
        joint = linear(d, d.x, d.channels, 3 * width)
        joint = d.net.op("Reshape", joint, d.ints(1, rows, 3, number, size))
        joint = d.net.op("Transpose", joint, perm=[2, 0, 3, 1, 4])
        if d.random.random() < 0.5:
            parts = [d.net.op("Squeeze", x, d.ints(0)) for x in apart(d, joint, (1, 1, 1), 0)]
        else:
            parts = [
                d.net.op("Gather", joint, d.net.constant(np.array(i, np.int64)), axis=0)
                for i in range(3)
            ]
    query, key, value = parts
    scores = d.net.op("MatMul", query, d.net.op("Transpose", key, perm=[0, 1, 3, 2]))
    scores = d.net.op("Div", scores, d.net.constant(np.float32(np.sqrt(size))))
    mixed = d.net.op("MatMul", d.net.op("Softmax", scores, axis=-1), value)
    mixed = d.net.op("Transpose", mixed, perm=[0, 2, 1, 3])
    mixed = d.net.op("Reshape", mixed, d.ints(1, rows, width))
    d.x = d.net.op("Add", d.x, linear(d, mixed, width, d.channels))


def fused_heads(d: Drawn) -> None:
    """Attention in one operator."""
    number = int(d.random.integers(2, 5))
    width = number * d.even(1, 3)
    parts = [linear(d, d.x, d.channels, width) for _ in range(3)]
    mixed = d.net.op("MultiHeadAttention", *parts, num_heads=number, domain="com.microsoft")
    d.x = d.net.op("Add", d.x, linear(d, mixed, width, d.channels))


def recurrent(d: Drawn) -> None:
    kind = str(d.random.choice(["LSTM", "GRU", "RNN"]))
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    both, units, rows = bool(d.random.random() < 0.5), d.even(), d.size * d.size
    directions = 1 + both
    steps = d.net.op("Transpose", d.x, perm=[1, 0, 2])
    constants = [
        d.net.constant(weights(d, directions, gates * units, width))
        for width in (d.channels, units)
    ]
    bias = d.net.constant(weights(d, directions, 2 * gates * units))
    first = d.net.constant(weights(d, directions, 1, units)) if d.random.random() < 0.5 else ""
    more: dict[str, object] = {"linear_before_reset": 1} if kind == "GRU" else {}
    inputs = [steps, *constants, bias, "", first]
    if kind == "LSTM" and d.random.random() < 0.5:
        cell = d.net.constant(weights(d, directions, 1, units))
        inputs += [cell, d.net.constant(weights(d, directions, 3 * units))]
    states = d.net.op(
        kind, *inputs, hidden_size=units,
        direction="bidirectional" if both else "reverse", **more,
    )  # fmt: skip
    states = d.net.op("Transpose", states, perm=[2, 0, 1, 3])
    d.x = d.net.op("Reshape", states, d.ints(1, rows, directions * units))
    d.channels = directions * units


def summed(d: Drawn) -> None:
    """A product by Einsum, and a sum over channels as a gate."""
    out = d.even()
    weight = d.net.constant(weights(d, d.channels, out))
    wide = d.net.op("Einsum", d.x, weight, equation="btc,cd->btd")
    total = d.net.op("ReduceSum", wide, d.ints(2), keepdims=1)
    d.x = d.net.op("Mul", wide, d.net.op("Sigmoid", total))
    d.channels = out


def embedded(d: Drawn) -> None:
    """Rows of a table, of learned positions, are added."""
    table = d.net.constant(weights(d, d.channels, d.channels))
    numbers = d.net.op("ArgMax", d.x, axis=2, keepdims=0)
    d.x = d.net.op("Add", linear(d, d.x, d.channels, d.channels),
                   d.net.op("Gather", table, numbers, axis=0))  # fmt: skip


ROW_BLOCKS: tuple[Callable[[Drawn], None], ...] = (
    feed_forward, heads, fused_heads, recurrent, summed, embedded,
)  # fmt: skip


BLOCKS = {block.__name__: block for block in (*IMAGE_BLOCKS, *ROW_BLOCKS)}


def scores_of_images(d: Drawn) -> None:
    """Pooled or flattened, and a Gemm."""
    features = d.channels
    if d.random.random() < 0.5:
        d.x = d.net.op("GlobalAveragePool", d.x)
    else:
        features *= d.size * d.size
    d.x = d.net.op("Flatten", d.x)
    d.net.op("Gemm", d.x, d.net.weight(5, features), d.vector(5), transB=1, name="y")


def scores_of_rows(d: Drawn) -> None:
    mean = d.net.op("ReduceMean", d.x, axes=[1], keepdims=0)
    d.net.op("MatMul", mean, d.net.constant(weights(d, d.channels, 5)), name="y")


def drawn_network(folder: Path, seed: int) -> onnx.ModelProto:
    """A random network, prepared: x (1, 3, 6, 6) -> y (1, 5)."""
    d = Drawn(seed)
    plain(d)
    for block in d.random.choice(np.array(IMAGE_BLOCKS), int(d.random.integers(3, 7))):
        block(d)
    if d.random.random() < 0.5:
        scores_of_images(d)
    else:
        to_rows(d)
        for block in d.random.choice(np.array(ROW_BLOCKS), int(d.random.integers(1, 4))):
            block(d)
        scores_of_rows(d)
    return prepared(d, folder)


def block_network(folder: Path, block: Callable[[Drawn], None], seed: int = 0) -> onnx.ModelProto:
    """A network about one block, prepared: x (1, 3, 6, 6) -> y (1, 5)."""
    d = Drawn(seed)
    plain(d)
    if block in ROW_BLOCKS:
        to_rows(d)
        block(d)
        scores_of_rows(d)
    else:
        block(d)
        plain(d)
        scores_of_images(d)
    return prepared(d, folder)


def prepared(d: Drawn, folder: Path) -> onnx.ModelProto:
    path = d.net.save(
        folder / "drawn.onnx", {"x": (1, CHANNELS, SIZE, SIZE)}, ["y"], domains=["com.microsoft"]
    )
    return read_original(path).prepared
