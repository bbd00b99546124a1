"""Operators that become others: wrong ones are refused by name, with no other error."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import save

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
