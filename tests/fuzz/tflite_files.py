"""TensorFlow Lite files: valid networks with other numbers in their tables, or damaged bytes."""

from __future__ import annotations

import copy
import sys
import tempfile
from pathlib import Path
from random import Random

import odd

sys.path.append(str(Path(__file__).parents[1] / "frontend" / "tflite"))

import numpy as np
from tflite_models import TYPES, Graph, Op, Tensor, constant, model

from tvmcomp.frontend import load_model

_CONV = {"StrideH": 1, "StrideW": 1, "Padding": 0, "FusedActivationFunction": 1}


def _floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, shape).astype("float32")


def _ints(*values: object) -> np.ndarray:
    return np.array(values, "int32")


def _images() -> list[Graph]:
    x, w, b = (
        Tensor("x", (1, 6, 6, 2)),
        constant("w", _floats(4, 3, 3, 2)),
        constant("b", _floats(4)),
    )
    tensors = [x, w, b, Tensor("c", (1, 6, 6, 4)), Tensor("p", (1, 3, 3, 4)),
               constant("pads", _ints((0, 0), (1, 1), (0, 2), (0, 0))), Tensor("d", (1, 5, 5, 4)),
               constant("size", _ints(7, 8)), Tensor("r", (1, 7, 8, 4)), Tensor("y", (1, 4)),
               constant("axes", _ints(1, 2))]  # fmt: skip
    pool = {"StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    ops = [
        Op("CONV_2D", ["x", "w", "b"], ["c"], "Conv2DOptions", _CONV),
        Op("AVERAGE_POOL_2D", ["c"], ["p"], "Pool2DOptions", pool),
        Op("PAD", ["p", "pads"], ["d"], "PadOptions"),
        Op("RESIZE_BILINEAR", ["d", "size"], ["r"], "ResizeBilinearOptions"),
        Op("MEAN", ["r", "axes"], ["y"], "ReducerOptions"),
    ]
    return [Graph(tensors, ops, ["x"], ["y"])]


def _integers() -> list[Graph]:
    def stored(name: str, *shape: int) -> Tensor:
        return Tensor(name, shape, "int8", scale=0.05, zero=3)

    weight = constant("w", np.ones((1, 3, 3, 2), "int8"), scale=[0.1, 0.2], zero=[0, 0], axis=3)
    bias = constant("b", _ints(5, -7), scale=[0.005, 0.01], zero=[0, 0])
    dense = constant("f", np.ones((3, 32), "int8"), scale=0.02)
    tensors = [stored("x", 1, 4, 4, 2), weight, bias, stored("d", 1, 4, 4, 2),
               stored("s", 1, 4, 4, 2), dense, stored("y", 1, 3)]  # fmt: skip
    ops = [
        Op("DEPTHWISE_CONV_2D", ["x", "w", "b"], ["d"], "DepthwiseConv2DOptions",
           {**_CONV, "DepthMultiplier": 1}),
        Op("ADD", ["x", "d"], ["s"], "AddOptions", {"FusedActivationFunction": 0}),
        Op("FULLY_CONNECTED", ["s", "f"], ["y"], "FullyConnectedOptions"),
    ]  # fmt: skip
    return [Graph(tensors, ops, ["x"], ["y"])]


def _moves() -> list[Graph]:
    tensors = [Tensor("x", (4, 6)), constant("b", _ints(1, 0)), constant("e", _ints(3, 6)),
               constant("s", _ints(1, 2)), Tensor("a", (2, 3)), constant("shape", _ints(3, 2)),
               Tensor("r", (3, 2)), constant("i", _ints(2, 0)), Tensor("g", (2, 2)),
               Tensor("u", (2,)), Tensor("v", (2,)), Tensor("y", (2, 2))]  # fmt: skip
    ops = [
        Op("STRIDED_SLICE", ["x", "b", "e", "s"], ["a"], "StridedSliceOptions", {"EndMask": 2}),
        Op("RESHAPE", ["a", "shape"], ["r"], "ReshapeOptions", {"NewShape": [3, 2]}),
        Op("GATHER", ["r", "i"], ["g"], "GatherOptions", {"Axis": 0}),
        Op("UNPACK", ["g"], ["u", "v"], "UnpackOptions", {"Axis": 0, "Num": 2}),
        Op("PACK", ["u", "v"], ["y"], "PackOptions", {"Axis": 0, "ValuesCount": 2}),
    ]
    return [Graph(tensors, ops, ["x"], ["y"])]


def _stream() -> list[Graph]:
    make = Op("VAR_HANDLE", [], ["v"], "VarHandleOptions", {"SharedName": "frames"})
    handle = Tensor("v", (), "resource")
    main = Graph(
        [handle, Tensor("x", (1, 2)), Tensor("old", (1, 2)), Tensor("y", (1, 2)),
         constant("zero", np.int32(0)), Tensor("n", (), "int32"), Tensor("z", (1, 2))],
        [Op("CALL_ONCE", [], [], "CallOnceOptions", {"InitSubgraphIndex": 1}), make,
         Op("READ_VARIABLE", ["v"], ["old"], "ReadVariableOptions"),
         Op("ADD", ["old", "x"], ["y"], "AddOptions"),
         Op("ASSIGN_VARIABLE", ["v", "y"], [], "AssignVariableOptions"),
         Op("WHILE", ["zero", "y"], ["n", "z"], "WhileOptions",
            {"CondSubgraphIndex": 2, "BodySubgraphIndex": 3})],
        ["x"], ["z"],
    )  # fmt: skip
    assign = Op("ASSIGN_VARIABLE", ["v", "start"], [], "AssignVariableOptions")
    own = copy.deepcopy(make)  # what is changed of one is not of the other
    first = Graph([handle, constant("start", _floats(1, 2))], [own, assign], [], [])
    number, x = Tensor("i", (), "int32"), Tensor("x", (1, 2))
    condition = Graph(
        [number, x, constant("n", np.int32(3)), Tensor("more", (), "bool")],
        [Op("LESS", ["i", "n"], ["more"], "LessOptions")],
        ["i", "x"],
        ["more"],
    )
    body = Graph(
        [number, x, constant("one", np.int32(1)), Tensor("j", (), "int32"), Tensor("z", (1, 2))],
        [Op("ADD", ["i", "one"], ["j"], "AddOptions"), Op("TANH", ["x"], ["z"])],
        ["i", "x"],
        ["j", "z"],
    )
    return [main, first, condition, body]


_SEEDS = [_images(), _integers(), _moves(), _stream()]
_KINDS = sorted({op.kind for seed in _SEEDS for graph in seed for op in graph.ops})


def warm_up() -> None:
    """Load what every input needs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.tflite"
        path.write_bytes(model(*_SEEDS[0]))
        load_model(path)


def make(rng: Random, folder: Path) -> Path:
    """Write one input."""
    graphs = copy.deepcopy(rng.choice(_SEEDS))
    kind = rng.randrange(4)
    for _ in range(rng.choice([0, 1]) if kind < 2 else rng.choice([1, 1, 2, 4])):
        _change(rng.choice(graphs), rng)
    data = model(*graphs)
    if kind == 0:
        data = odd.damaged(data, rng)
    elif kind == 1:  # a number of a table
        changed = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at, size = 4 * rng.randrange(2, len(data) // 4), rng.choice([1, 2, 4])
            changed[at : at + size] = (odd.integer(rng) % (1 << 8 * size)).to_bytes(size, "little")
        data = bytes(changed)
    path = folder / "net.tflite"
    path.write_bytes(data)
    return path


def _small(rng: Random) -> int:
    number = odd.integer(rng)
    return max(min(number, 2**31 - 1), -(2**31))


def _change(graph: Graph, rng: Random) -> None:
    """One thing of a tensor, an operator or the graph."""
    kind = rng.randrange(9)
    tensor, op = rng.choice(graph.tensors), rng.choice(graph.ops)
    names = [*(each.name for each in graph.tensors), ""]
    if kind == 0:
        shape = list(tensor.shape) or [1]
        shape[rng.randrange(len(shape))] = _small(rng)
        tensor.shape = tuple(shape)
    elif kind == 1:
        tensor.shape = tuple(_small(rng) for _ in range(rng.randrange(7)))
    elif kind == 2:
        tensor.dtype = rng.choice(list(TYPES))
    elif kind == 3:
        count = rng.choice([1, 1, 2, 4])
        tensor.scale, tensor.zero = (
            [abs(rng.choice(odd.FLOATS)) or 1.0] * count,
            [_small(rng)] * count,
        )
        tensor.axis = rng.randrange(4)
    elif (
        kind == 4 and tensor.data is not None and tensor.data.dtype == np.int32 and tensor.data.size
    ):
        flat = tensor.data.reshape(-1).copy()
        flat[rng.randrange(flat.size)] = _small(rng)
        tensor.data = flat.reshape(tensor.data.shape)
    elif kind == 5:
        op.kind = rng.choice(_KINDS)
    elif kind == 6 and op.fields:
        name = rng.choice(list(op.fields))
        if isinstance(op.fields[name], int):
            op.fields[name] = _small(rng) % 100 - 3 if "Function" not in name else rng.randrange(8)
    elif kind == 7:
        places = rng.choice([op.inputs, op.outputs, graph.inputs, graph.outputs])
        if places:
            places[rng.randrange(len(places))] = rng.choice(names)
    else:
        tensor.signature = tuple(rng.choice([-1, 1, 3]) for _ in tensor.shape)


def read(path: Path) -> None:
    """Import it."""
    load_model(path)
