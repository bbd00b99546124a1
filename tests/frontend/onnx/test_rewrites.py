"""Operators that become others: wrong ones are refused by name, with no other error."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import run, save

from tvmcomp.errors import ModelError
from tvmcomp.frontend import load_model

WEIGHTS = {"b": np.zeros((4, 1, 16), np.uint8), "s": np.ones(4, np.float32)}
WRONG = [
    ("MatMulNBits", ["x", "b", "s"], {}),
    ("MatMulNBits", ["x", "b", "s"], {"K": 32, "N": 4, "block_size": 0}),
    ("MatMulNBits", ["x", "b", "s"], {"K": 32, "N": 4, "block_size": "a"}),
    ("MatMulNBits", ["x", "b", "s"], {"K": -32, "N": 4, "block_size": 32}),
    ("MatMulNBits", ["x", "b", "x"], {"K": 32, "N": 4, "block_size": 32}),
    ("QLinearConcat", ["s", "b", "x", "s", "b"], {}),
    ("QLinearAdd", ["x", "s", "b", "x", "s", "b", "s"], {}),
    ("QLinearSoftmax", ["x", "s", "b", "s", "b"], {"axis": 99, "opset": 1}),
    ("FusedConv", ["x", "s"], {"activation": "Nope"}),
    ("FusedGemm", ["x", "s"], {"activation": "Clip"}),
    ("Attention", ["x", "s", "s"], {"num_heads": 0}),
    ("MultiHeadAttention", ["x"], {"num_heads": 1}),
    ("RotaryEmbedding", ["x", "s", "s", "s"], {}),
]


@pytest.mark.parametrize("operator, inputs, attributes", WRONG)
def test_wrong_nodes(tmp_path, operator, inputs, attributes):
    node = helper.make_node(
        operator, inputs, ["y"], name="this", domain="com.microsoft", **attributes
    )
    path = save(
        tmp_path / "m.onnx", [node], {"x": (2, 32)}, ["y"], weights=WEIGHTS,
        types={"y": TensorProto.FLOAT}, opsets=[helper.make_opsetid("com.microsoft", 1)],
    )  # fmt: skip
    with pytest.raises(ModelError, match="this"):
        load_model(path)


def test_half_a_spectrum_by_default():
    """What follows an STFT that says nothing of its sides has the shapes of one side."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("STFT", ["x", "step", "window"], ["spectrum"]),
        helper.make_node("ReduceSumSquare", ["spectrum"], ["power"], axes=[-1], keepdims=0),
        helper.make_node("MatMul", ["power", "bands"], ["y"]),
    ]
    held = {
        "step": np.array(5),
        "window": np.hanning(16).astype("float32"),
        "bands": rng.normal(size=(9, 3)).astype("float32"),
    }
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 40, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = rng.normal(size=(1, 40, 1)).astype("float32")
    frames = np.stack([x[0, i : i + 16, 0] for i in range(0, 25, 5)]) * held["window"]
    wanted = np.abs(np.fft.rfft(frames)) ** 2 @ held["bands"]
    np.testing.assert_allclose(run(load_model(model), {"x": x})[0][0], wanted, rtol=1e-4, atol=1e-4)
