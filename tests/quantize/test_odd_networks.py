"""Loops, branches, chosen rows and 4-bit blocks in 8 bits: near float, and in integers."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmcomp

node, info = helper.make_node, helper.make_tensor_value_info
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Network:
    """Two convolutions, and a row of 32 numbers for each of their 64 places; more is added."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.weights: dict[str, np.ndarray] = {}
        self.inputs = [info("x", FLOAT, (1, 3, 32, 32))]
        self.outputs: list[str] = []
        for name, shape in (("w1", (16, 3, 3, 3)), ("w2", (32, 16, 3, 3))):
            self.weight(name, *shape, fan=int(np.prod(shape[1:])))
        self.weights |= {"flat": np.array([32, 64])}
        settings = {"pads": [1, 1, 1, 1], "strides": [2, 2]}
        self.nodes = [
            node("Conv", ["x", "w1"], ["c1"], "first", **settings),
            node("Relu", ["c1"], ["r1"]),
            node("Conv", ["r1", "w2"], ["c2"], "second", **settings),
            node("Relu", ["c2"], ["map"]),
            node("Reshape", ["map", "flat"], ["places"]),
            node("Transpose", ["places"], ["rows"], perm=[1, 0]),
        ]

    def weight(self, name: str, *shape: int, fan: int) -> None:
        self.weights[name] = (self.rng.normal(size=shape) * (1.4 / fan**0.5)).astype("float32")

    def model(self):
        graph = helper.make_graph(
            self.nodes, "odd", self.inputs, [info(name, FLOAT, None) for name in self.outputs],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def sample(self) -> dict[str, np.ndarray]:
        rng = self.rng
        x = rng.normal(size=(1, 3, 32, 32)) + rng.normal(size=(1, 3, 1, 1)) / 2
        feeds = {"x": x.astype("float32")}
        if len(self.inputs) > 1:
            feeds["trips"] = np.array(rng.integers(1, 64))
        return feeds


def loop(network: Network) -> None:
    """``h = tanh(h U + row V)`` over as many rows as an input says."""
    for name in ("u", "v", "last"):
        network.weight(name, 32, 32, fan=64)
    network.weights |= {"yes": np.array(True), "start": np.zeros((1, 32), "float32")}
    network.inputs.append(info("trips", INT64, ()))
    body = helper.make_graph(
        [node("MatMul", ["h", "u"], ["hu"], "state"), node("Gather", ["rows", "i"], ["row"]),
         node("MatMul", ["row", "v"], ["rv"], "data"), node("Add", ["hu", "rv"], ["sum"]),
         node("Softsign", ["sum"], ["next"]), node("Identity", ["going"], ["again"])],
        "body",
        [info("i", INT64, ()), info("going", BOOL, ()), info("h", FLOAT, (1, 32))],
        [info("again", BOOL, ()), info("next", FLOAT, (1, 32))],
    )  # fmt: skip
    network.nodes += [
        node("Loop", ["trips", "yes", "start"], ["end"], "loop", body=body),
        node("MatMul", ["end", "last"], ["y"], "last"),
    ]


def branch(network: Network) -> None:
    """One of two convolutions, by the mean."""
    sides = {}
    for side in ("then_branch", "else_branch"):
        network.weight(side, 16, 32, 3, 3, fan=288)
        inner = [node("Conv", ["map", side], [f"{side}_y"], side, pads=[1, 1, 1, 1])]
        sides[side] = helper.make_graph(inner, side, [], [info(f"{side}_y", FLOAT, (1, 16, 8, 8))])
    network.weights["middle"] = np.float32(0.5)
    network.nodes += [
        node("ReduceMean", ["map"], ["mean"], keepdims=0),
        node("Greater", ["mean", "middle"], ["high"]),
        node("If", ["high"], ["y"], "if", **sides),
    ]


def chosen(network: Network) -> None:
    """The mean of a product of rows above a threshold."""
    network.weight("head", 32, 32, fan=32)
    network.weights["least"] = np.float32(0.4)
    network.nodes += [
        node("ReduceMean", ["rows"], ["score"], axes=[1], keepdims=0),
        node("Greater", ["score", "least"], ["is_high"]),
        node("Compress", ["rows", "is_high"], ["found"], axis=0),
        node("MatMul", ["found", "head"], ["product"], "head"),
        node("ReduceMean", ["product"], ["y"], axes=[0], keepdims=1),
    ]


def blocks(network: Network) -> None:
    """A product with a weight of 4 bits, and one in float behind it."""
    rng = network.rng
    network.weights |= {
        "codes": rng.integers(0, 256, (64, 2, 8)).astype("uint8"),
        "scales": rng.uniform(0.01, 0.05, 128).astype("float32"),
    }
    network.weight("head", 64, 32, fan=64)
    sizes = {"K": 32, "N": 64, "bits": 4, "block_size": 16, "domain": "com.microsoft"}
    network.nodes += [
        node("MatMulNBits", ["rows", "codes", "scales"], ["product"], "packed", **sizes),
        node("Relu", ["product"], ["positive"]),
        node("MatMul", ["positive", "head"], ["y"], "head"),
    ]


@pytest.mark.parametrize("quant", ["int8", "dynamic"])
@pytest.mark.parametrize("kind", [loop, branch, chosen, blocks])
def test_near_float_and_in_integers(kind, quant):
    network = Network()
    kind(network)
    network.outputs = ["y"]
    model = network.model()
    samples = [network.sample() for _ in range(24)] if quant == "int8" else None
    artifact = tvmcomp.build(model, quant=quant, calibration=samples, log="none", reference=False)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds = [network.sample() for _ in range(8)]
    wanted = np.stack([session.run(["y"], each)[0] for each in feeds])
    with tvmcomp.load(artifact) as ours:
        got = np.stack([ours.run(each)["y"] for each in feeds])
    noise = ((got - wanted) ** 2).sum() / (wanted**2).sum()
    assert 1e-6 < noise < 1e-2  # of 20 dB at least, and not float
    dtypes = {op.dtype for op in artifact.metadata.operators if op.macs}
    assert "int8" in dtypes
    if kind is blocks:
        assert "float32, weights int4" in dtypes
