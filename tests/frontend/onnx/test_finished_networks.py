"""Networks that `compress` wrote build to the integers that a calibrated build makes of the float
one, and give what they mean; tables and weights of 4 bits stay so in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from finished_networks import finished
from onnx import TensorProto, helper, numpy_helper
from precise_onnxruntime import precise_onnxruntime
from quantized_meaning import faults, with_all_outputs

import tvmcomp
from tvmcomp.artifact.artifact import Artifact
from tvmcomp.quantize import QuantConfig


class Network:
    """A float network under construction."""

    def __init__(self, seed: int, shape: tuple[int, ...], kind: int = TensorProto.FLOAT) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.input = helper.make_tensor_value_info("x", kind, shape)

    def constant(self, array: object) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array)
        return name

    def weight(self, *shape: int, depth: int | None = None) -> str:
        deviation = np.sqrt(2 / (depth or np.prod(shape[1:])))
        return self.constant((self.rng.normal(size=shape) * deviation).astype(np.float32))

    def bias(self, *shape: int) -> str:
        return self.constant((self.rng.normal(size=shape) * 0.2).astype(np.float32))

    def add(self, operator: str, *inputs: str, name: str = "", outputs: int = 1, **attributes):
        name = name or f"t{len(self.nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name, **attributes))
        return name

    def conv(self, x: str, outputs: int, inputs: int, size: int = 3, groups: int = 1, **attributes):
        weight, bias = self.weight(outputs, inputs // groups, size, size), self.bias(outputs)
        pads = [size // 2] * 4
        return self.add("Conv", x, weight, bias, group=groups, pads=pads, **attributes)

    def model(self, output: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "test", [self.input],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
        model.ir_version = 10
        return model


def mobile() -> tuple[onnx.ModelProto, list[str]]:
    """Depthwise, hard-swish in registers, a residual, a mean, a dense layer."""
    n = Network(1, (1, 3, 20, 20))
    n.add("Relu", n.conv("x", 16, 3, strides=[2, 2]), name="a")
    n.add("HardSwish", n.conv("a", 16, 16, groups=16), name="b")
    n.add("Add", n.conv("b", 16, 16, 1), "a", name="c")
    n.add("HardSwish", n.conv("c", 32, 16, 1), name="d")
    n.add("Flatten", n.add("GlobalAveragePool", "d"), name="f")
    y = n.add("Gemm", "f", n.weight(10, 32), n.bias(10), transB=1, name="y")
    return n.model(y), ["x", "a", "b", "c", "d", "f", "y"]


def gates() -> tuple[onnx.ModelProto, list[str]]:
    """Squeeze and excitation: a product of two quantized tensors, groups."""
    n = Network(2, (1, 8, 12, 12))
    n.add("Relu", n.conv("x", 16, 8, groups=2), name="a")
    n.add("Relu", n.conv(n.add("GlobalAveragePool", "a", name="g"), 8, 16, 1), name="h")
    n.add("HardSigmoid", n.conv("h", 16, 8, 1), name="i", alpha=1 / 6, beta=0.5)
    n.add("Mul", "a", "i", name="m")
    return n.model(n.conv("m", 12, 16, 1, name="y")), ["x", "a", "g", "h", "i", "m", "y"]


def pools() -> tuple[onnx.ModelProto, list[str]]:
    n = Network(3, (1, 8, 16, 16))
    n.add("Relu", n.conv("x", 16, 8), name="a")
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    pooled = n.add("MaxPool", "a", **window), n.add("AveragePool", "a", **window)
    n.add("Concat", *pooled, axis=1, name="c")
    weight = n.weight(32, 8, 2, 2, depth=32)
    n.add("ConvTranspose", "c", weight, n.bias(8), strides=[2, 2], name="t")
    return n.model(n.conv("t", 6, 8, name="y")), ["x", "a", "c", "t", "y"]


def dense() -> tuple[onnx.ModelProto, list[str]]:
    """As in a transformer."""
    n = Network(4, (1, 7, 24))
    product = n.add("MatMul", "x", n.weight(24, 48, depth=24))
    n.add("Gelu", n.add("Add", product, n.bias(48)), name="a")
    product = n.add("MatMul", "a", n.weight(48, 24, depth=48))
    c = n.add("Add", n.add("Add", product, n.bias(24)), "x")
    ones, zeros = n.constant(np.ones(24, np.float32)), n.constant(np.zeros(24, np.float32))
    n.add("LayerNormalization", c, ones, zeros, name="l")
    return n.model(n.add("MatMul", "l", n.weight(24, 5, depth=24), name="y")), ["x", "a", "l", "y"]


def sequence() -> tuple[onnx.ModelProto, list[str]]:
    n = Network(8, (1, 4, 64))
    conv = n.add("Conv", "x", n.weight(16, 4, 5), n.bias(16), pads=[2, 2], strides=[2])
    n.add("Relu", conv, name="a")
    conv = n.add("Conv", "a", n.weight(16, 1, 3), n.bias(16), pads=[1, 1], group=16)
    p = n.add("MaxPool", n.add("Relu", conv), kernel_shape=[2], strides=[2], name="p")
    n.add("Relu", n.add("Conv", p, n.weight(24, 16, 3), n.bias(24)), name="c")
    n.add("Flatten", n.add("GlobalAveragePool", "c"), name="f")
    y = n.add("Gemm", "f", n.weight(24, 7, depth=24), n.bias(7), name="y")
    return n.model(y), ["x", "a", "p", "c", "f", "y"]


def recurrent(kind: str, gates: int, directions: int) -> tuple[onnx.ModelProto, list[str]]:
    n = Network(5, (9, 1, 12))
    rows, attributes = gates * 16, {"hidden_size": 16}
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    if directions == 2:
        attributes["direction"] = "bidirectional"
    y = n.add(
        kind, "x", n.weight(directions, rows, 12, depth=12),
        n.weight(directions, rows, 16, depth=16), n.bias(directions, 2 * rows), **attributes,
    )  # fmt: skip
    moved = n.add("Transpose", y, perm=[0, 2, 1, 3])
    n.add("Reshape", moved, n.constant(np.array([0, 0, -1])), name="s")
    return n.model(n.add("MatMul", "s", n.weight(16 * directions, 6), name="y")), ["x", "s", "y"]


def embedding() -> tuple[onnx.ModelProto, list[str]]:
    n = Network(7, (1, 9), TensorProto.INT64)
    n.add("Gather", n.weight(100, 32, depth=1), "x", name="e")
    return n.model(n.add("MatMul", "e", n.weight(32, 6, depth=32), name="y")), ["e", "y"]


NETWORKS: dict[str, Callable[[], tuple[onnx.ModelProto, list[str]]]] = {
    "mobile": mobile,
    "gates": gates,
    "pools": pools,
    "dense": dense,
    "sequence": sequence,
    "embedding": embedding,
    "lstm": lambda: recurrent("LSTM", 4, 1),
    "gru": lambda: recurrent("GRU", 3, 2),
}
STORED = {"INT8": 8, "INT4": 4, "UINT4": 4}


def samples(model: onnx.ModelProto, count: int, seed: int) -> list[dict[str, np.ndarray]]:
    (x,) = model.graph.input
    shape = [dim.dim_value for dim in x.type.tensor_type.shape.dim]
    rng = np.random.default_rng(seed)
    if x.type.tensor_type.elem_type == TensorProto.INT64:
        return [{"x": rng.integers(0, 100, shape)} for _ in range(count)]
    return [{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(count)]


def build(model: onnx.ModelProto, path: Path) -> Artifact:
    onnx.save(model, path)
    return tvmcomp.build(path, log="none", reference=False)


def run(artifact: Artifact, given: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    with tvmcomp.load(artifact) as session:
        return [session.run(sample) for sample in given]


def in_float(artifact: Artifact) -> set[str]:
    """Operators that a calibrated build runs in integers, but for the moves of a transposed
    convolution, which it calls so and does not."""
    return {
        operator.name for operator in artifact.metadata.operators
        if operator.dtype == "float32" and "transpose_" not in operator.name
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "stored"),
    [("mobile", "INT4"), ("gru", "INT4"), ("embedding", "UINT4"), ("dense", "INT8")]
    + [
        pytest.param(name, stored, marks=pytest.mark.slow)
        for name in NETWORKS for stored in STORED
    ],
)  # fmt: skip
def test_it_is_integers_where_a_calibrated_build_is(tmp_path, name, stored):
    model, rounded = NETWORKS[name]()
    fitted = samples(model, 8, 0)
    kind = getattr(TensorProto, stored)
    made = finished(model, rounded, fitted, bits=STORED[stored], stored=kind)
    onnx.save(model, tmp_path / "float.onnx")
    own = tvmcomp.build(
        tmp_path / "float.onnx", quant="int8", calibration=fitted, log="none", reference=False,
        config=QuantConfig(min_sqnr_db=None),
    )  # fmt: skip
    artifact = build(made, tmp_path / "finished.onnx")
    ours = {operator.name: operator.dtype for operator in own.metadata.operators}
    lost = {op for op in in_float(artifact) if ours.get(op) == "int8"} - {"t"}
    assert not lost
    assert artifact.constants_nbytes < 1.2 * own.constants_nbytes
    if STORED[stored] == 4:
        assert artifact.small().constants_nbytes_in_file < 0.7 * own.constants_nbytes


@pytest.mark.parametrize(
    ("name", "stored"),
    [("mobile", "UINT4"), ("pools", "INT4")]
    + [
        pytest.param(name, stored, marks=pytest.mark.slow)
        for name in ("mobile", "gates", "pools", "dense", "sequence") for stored in STORED
    ],
)  # fmt: skip
def test_every_rounded_tensor_is_the_nearest_step(tmp_path, name, stored):
    model, rounded = NETWORKS[name]()
    kind = getattr(TensorProto, stored)
    made = finished(model, rounded, samples(model, 8, 0), bits=STORED[stored], stored=kind)
    judged = with_all_outputs(made)
    given = samples(model, 3, 1)
    for feeds, result in zip(given, run(build(judged, tmp_path / "m.onnx"), given), strict=True):
        assert not faults(made, feeds, result)


@pytest.mark.parametrize(
    "name",
    ["lstm", "mobile"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS if name != "pools"],
)
def test_the_result_is_within_a_step_of_onnx_runtimes(tmp_path, name):
    model, rounded = NETWORKS[name]()
    made = finished(model, rounded, samples(model, 8, 0), bits=4, stored=TensorProto.INT4)
    given = samples(model, 20, 1)
    artifact = build(made, tmp_path / "m.onnx")
    artifact.small().save(tmp_path / "m.tvmc")
    loaded = Artifact.load(tmp_path / "m.tvmc")
    assert loaded.coded.size
    session = precise_onnxruntime(tmp_path / "m.onnx")
    step = next(
        float(numpy_helper.to_array(t)) for t in made.graph.initializer if t.name == "y/scale"
    )
    ours = np.stack([result["y/real"] for result in run(loaded, given)])
    theirs = np.stack([session.run(["y/real"], feeds)[0] for feeds in given])
    assert (np.abs(ours - theirs) <= 1.01 * step).mean() >= 0.999
    assert len(np.unique(theirs)) > 10


@pytest.mark.parametrize("block", [8, 5])
def test_weights_in_blocks_mean_what_they_say(tmp_path, block):
    model, rounded = dense()
    made = finished(
        model, rounded, samples(model, 8, 0), bits=4, stored=TensorProto.INT4, block=block
    )
    given = samples(model, 5, 1)
    artifact = build(made, tmp_path / "m.onnx")
    session = precise_onnxruntime(tmp_path / "m.onnx")
    for feeds, result in zip(given, run(artifact, given), strict=True):
        (theirs,) = session.run(None, feeds)
        assert np.abs(result["y/real"] - theirs).max() <= 0.01 * np.ptp(theirs)
