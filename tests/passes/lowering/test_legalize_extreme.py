"""The largest of infinities alone is infinite, and so is the smallest."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_models import save

import tvmcomp


@pytest.mark.parametrize("operator, extreme", [("ReduceMax", -np.inf), ("ReduceMin", np.inf)])
@pytest.mark.parametrize("axes", [[1], [2], [1, 2], [0]])
def test_of_infinities(tmp_path, operator, extreme, axes):
    node = helper.make_node(operator, ["x"], ["y"], axes=axes, keepdims=0)
    path = save(tmp_path / "m.onnx", [node], {"x": (3, 4, 17)}, ["y"], opset=13)
    x = np.random.default_rng(0).normal(size=(3, 4, 17)).astype(np.float32)
    x[0] = extreme
    x[:, 2] = extreme
    x[:, :, 5] = extreme
    with tvmcomp.load(tvmcomp.build(path, log="none", reference=False)) as session:
        y = session.run({"x": x})["y"]
    reduce = np.max if operator == "ReduceMax" else np.min
    np.testing.assert_array_equal(y, reduce(x, axis=tuple(axes)))
