"""Random networks that choose rows by what they hold, and compute with as many as there are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Rows and columns of what is given.
ROWS, WIDTH = 12, 4
_FLOAT, _INT64 = TensorProto.FLOAT, TensorProto.INT64


class Network:
    """Sets of tensors of as many rows as each other: ``[n, WIDTH]`` floats, one set a selection."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.outputs: list[tuple[str, int]] = []
        self.sets: list[list[str]] = []

    def add(self, operator: str, *inputs: str, count: int = 1, **attributes: object) -> str:
        names = [f"t{len(self.nodes)}_{i}" for i in range(count)]
        name = f"{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, names, name, **attributes))
        return names[-1]

    def const(self, array: object) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *numbers: int) -> str:
        return self.const(np.array(numbers, "int64"))

    def floats(self, *shape: int) -> str:
        return self.const(self.rng.normal(size=shape).astype("float32"))

    def rows_of(self, rows: str) -> str:
        """The number of rows ``[1]``, as exporters ask for it."""
        size = self.add("Gather", self.add("Shape", rows), self.const(np.int64(0)), axis=0)
        return self.add("Unsqueeze", size, self.ints(0))

    def choose(self, data: str) -> None:
        """A new set: the rows of ``data`` whose first number is large."""
        column = self.add("Gather", data, self.const(np.int64(0)), axis=1)
        mask = self.add("Greater", column, self.const(np.float32(self.rng.uniform(-1, 1))))
        way = self.rng.integers(3)
        if way == 0:
            rows = self.add("Compress", data, mask, axis=0)
        elif way == 1:
            places = self.add("Squeeze", self.add("NonZero", mask), self.ints(0))
            rows = self.add("Gather", data, places, axis=0)
        else:
            places = self.add("Transpose", self.add("NonZero", mask), perm=[1, 0])
            rows = self.add("GatherND", data, places)
        self.sets.append([rows])

    def best(self, rows: list[str]) -> None:
        """A new set: at most five rows, by their second number."""
        column = self.add("Gather", rows[-1], self.const(np.int64(1)), axis=1)
        both = self.add("Concat", self.ints(5), self.rows_of(column), axis=0)
        most = self.add("Reshape", self.add("ReduceMin", both, keepdims=0), self.ints(-1))
        places = self.add("TopK", column, most, count=2, largest=int(self.rng.integers(2)))
        self.sets.append([self.add("Gather", rows[-1], places, axis=0)])

    def suppressed(self, rows: list[str]) -> None:
        """A new set: boxes that overlap little."""
        size = self.add(
            "Abs", self.add("Slice", rows[-1], self.ints(2), self.ints(4), self.ints(1))
        )
        low = self.add("Slice", rows[-1], self.ints(0), self.ints(2), self.ints(1))
        boxes = self.add("Concat", low, self.add("Add", low, size), axis=1)
        scores = self.add("Gather", rows[-1], self.const(np.int64(0)), axis=1)
        chosen = self.add(
            "NonMaxSuppression",
            self.add("Unsqueeze", boxes, self.ints(0)),
            self.add("Unsqueeze", self.add("Unsqueeze", scores, self.ints(0)), self.ints(0)),
            self.ints(100), self.const(np.array([0.3], "float32")),
        )  # fmt: skip
        places = self.add("Squeeze", self.add("Gather", chosen, self.ints(2), axis=1), self.ints(1))
        self.sets.append([self.add("Gather", rows[-1], places, axis=0)])

    def joined(self, rows: list[str]) -> None:
        """A new set: the rows of two."""
        other = self.sets[self.rng.integers(len(self.sets))]
        more = [rows[-1], other[0], self.floats(2, WIDTH)][: self.rng.integers(2, 4)]
        self.sets.append([self.add("Concat", *more, axis=0)])

    def first(self, rows: list[str]) -> None:
        """A new set: its first, or last, three rows."""
        ends = ((0, 3), (-3, 2**62), (1, 2**62), (0, -1))[self.rng.integers(4)]
        axis, step = self.ints(0), self.ints(1)
        ends_ = [self.ints(end) for end in ends]
        self.sets.append([self.add("Slice", rows[-1], *ends_, axis, step)])

    def padded(self, rows: list[str]) -> None:
        """A new set, of a row more in front and two behind; an output of 40 rows in all.

        PyTorch's exporter turns what is added: the last axis comes first in its own order.
        """
        number = self.const(np.float32(1.5))
        if self.rng.integers(2):
            self.sets.append([self.add("Pad", rows[-1], self.ints(1, 0, 2, 0), number)])
        more = self.add("Sub", self.ints(40), self.rows_of(rows[-1]))
        pairs = self.add("Concat", self.ints(0, 0, 0), more, axis=0)
        pairs = self.add("Reshape", pairs, self.ints(-1, 2))
        turned = self.add("Slice", pairs, self.ints(-1), self.ints(-(2**63) + 1), self.ints(0),
                          self.ints(-1))  # fmt: skip
        pads = self.add("Reshape", self.add("Transpose", pairs, perm=[1, 0]), self.ints(-1))
        turned = self.add("Reshape", self.add("Transpose", turned, perm=[1, 0]), self.ints(-1))
        wide = self.add("Pad", self.add("Transpose", rows[-1], perm=[1, 0]), pads)
        name = self.add("Add", self.add("Transpose", wide, perm=[1, 0]),
                        self.add("Pad", rows[-1], turned, number))  # fmt: skip
        self.outputs.append((self.add("Reshape", name, self.ints(40, WIDTH)), _FLOAT))

    def computed(self, rows: list[str]) -> None:
        """Another tensor of the set."""
        data, way = rows[-1], self.rng.integers(8)
        if way == 0:
            result = self.add("Add", data, rows[0])
        elif way == 1:
            result = self.add("MatMul", data, self.floats(WIDTH, WIDTH))
        elif way == 2:
            top = self.add("ReduceMax", data, axes=[0], keepdims=1)
            result = self.add("Sub", data, top)
        elif way == 3:
            shape = self.add("Concat", self.rows_of(data), self.ints(2, WIDTH // 2), axis=0)
            parts = self.add("Reshape", data, shape)
            flipped = self.add("Transpose", parts, perm=[0, 2, 1])
            result = self.add("Reshape", flipped, self.ints(-1, WIDTH))
        elif way == 4:
            order = self.add("Range", self.const(np.int64(0)),
                             self.add("Squeeze", self.rows_of(data), self.ints(0)),
                             self.const(np.int64(1)))  # fmt: skip
            number = self.add("Cast", self.add("Unsqueeze", order, self.ints(1)), to=_FLOAT)
            result = self.add("Mul", data, number)
        elif way == 5:
            shape = self.add("Concat", self.rows_of(data), self.ints(WIDTH), axis=0)
            value = numpy_helper.from_array(np.array([0.5], "float32"))
            result = self.add("Where", self.add("Less", data, self.floats(1)), data,
                              self.add("ConstantOfShape", shape, value=value))  # fmt: skip
        elif way == 6:
            result = self.add("Softmax", data, axis=int(self.rng.integers(2)))
        else:
            shape = self.add("Concat", self.rows_of(data), self.ints(WIDTH), axis=0)
            result = self.add("Mul", data, self.add("Expand", self.floats(1, WIDTH), shape))
        rows.append(result)

    def scattered(self, rows: list[str]) -> None:
        """An output of a fixed size: the rows, at places that they say."""
        column = self.add("Gather", rows[0], self.const(np.int64(2)), axis=1)
        spread = self.add("Mul", self.add("Abs", column), self.const(np.float32(5)))
        ends = [self.const(np.float32(end)) for end in (0, ROWS - 1)]
        places = self.add("Cast", self.add("Clip", spread, *ends), to=_INT64)
        places = self.add("Unsqueeze", places, self.ints(1))
        base = self.floats(ROWS, WIDTH)
        name = self.add("ScatterND", base, places, rows[-1], reduction="add")
        self.outputs.append((name, _FLOAT))

    def reduced(self, rows: list[str]) -> None:
        """An output of a fixed size: a sum, a mean, a product of the rows with themselves."""
        way = self.rng.integers(4)
        if way == 0:
            name = self.add("ReduceSum", rows[-1], self.ints(0), keepdims=0)
        elif way == 1:
            name = self.add("ReduceMean", rows[-1], axes=[0], keepdims=0)
        elif way == 2:
            name = self.add("MatMul", self.add("Transpose", rows[-1], perm=[1, 0]), rows[0])
        else:
            name = self.add("Shape", rows[-1])
        self.outputs.append((name, _INT64 if way == 3 else _FLOAT))


_STEPS: tuple[Callable[[Network, list[str]], None], ...] = (
    Network.best, Network.suppressed, Network.joined, Network.first, Network.padded,
    *[Network.computed] * 5, Network.scattered, Network.reduced,
)  # fmt: skip


def chosen_rows(seed: int) -> onnx.ModelProto:
    """A network of input ``x [ROWS, WIDTH]``."""
    network = Network(seed)
    network.choose("x")
    if network.rng.integers(2):
        network.choose("x")
    for _ in range(network.rng.integers(4, 9)):
        rows = network.sets[network.rng.integers(len(network.sets))]
        _STEPS[network.rng.integers(len(_STEPS))](network, rows)
    network.outputs += [(rows[-1], _FLOAT) for rows in network.sets]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        network.nodes, "chosen", [info("x", _FLOAT, (ROWS, WIDTH))],
        [info(name, kind, None) for name, kind in dict(network.outputs).items()],
        network.weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model
