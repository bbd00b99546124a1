"""Float constants beside weights of few bits are bfloat16 numbers; what is exact stays so."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import numpy_helper
from rounded_networks import node, normal, prepared

pytest.importorskip("torch")

from tvmcomp.compress.fake_quantize.short_constants import shorten


def test_only_what_is_added_or_multiplied_elementwise_is_shortened() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "product"),
        node("Add", ["a", "b"], ["c"], "sum"),
        node("Gemm", ["c", "v", "bias"], ["d"], "kept"),
        node("Mul", ["d", "two"], ["y"], "twice"),
    ]
    constants = {
        "w": normal(8, 16),
        "b": normal(16, seed=1),
        "v": normal(16, 9, seed=2),
        "bias": normal(9, seed=3),
        "two": np.float32(2.001),
    }
    model = prepared(nodes, {"x": (1, 8)}, ["y"], constants)
    shorten(model, {"kept"})
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name in ("w", "v", "bias", "two"):
        np.testing.assert_array_equal(found[name], constants[name])
    wanted = constants["b"].astype(ml_dtypes.bfloat16).astype("float32")
    np.testing.assert_array_equal(found["b"], wanted)
    assert not np.array_equal(wanted, constants["b"])
